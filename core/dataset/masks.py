"""How masks and conditioning pictures enter a batch: what counts how much, and what the model is shown."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from core.dataset.pixels import Pixels
from core.dataset.settings import ConceptImage


def at_latent_size(mask: Tensor, height: int, width: int) -> Tensor:
    """A mask (1 H W) at a smaller size: the mean over the area that each latent pixel stands for, 1 h w."""
    return interpolate(mask[None].float(), size=(height, width), mode="area")[0]


def loss_factor(mask: Tensor, image: ConceptImage) -> Tensor:
    """The factor on the squared error of each latent pixel, 1 h w, of a mask (1 h w, 0 to 1).

    Inside it is 1, outside `unmasked_weight`, in between in proportion (kohya's trainer multiplies by the mask, so that
    outside nothing counts; OneTrainer has the same two weights). With `normalize_masked_area_loss` it is divided by
    its own mean, so that it has a mean of 1; a mask that leaves nothing at all stays zero.
    """
    factor = image.unmasked_weight + (1 - image.unmasked_weight) * mask.float()
    mean = factor.mean()
    return factor / mean if image.normalize_masked_area_loss and mean > 0 else factor


def held_factor(mask: Tensor, image: ConceptImage) -> Tensor:
    """The factor on each latent pixel's difference from what the model said before training, 1 h w.

    What `loss_factor` leaves of 1, times `masked_prior_preservation_weight`, and divided by its own mean as that is;
    as OneTrainer has it.
    """
    rest = (1 - image.unmasked_weight) * (1 - mask.float())
    mean = rest.mean()
    if image.normalize_masked_area_loss and mean > 0:
        rest = rest / mean
    return image.masked_prior_preservation_weight * rest


def held_mask(masks: Sequence[Tensor | None], images: Sequence[ConceptImage], latents: Tensor) -> Tensor | None:
    """`Batch.held` (B 1 h w, fp32) for latents (B C h w): zeros for each sample without a mask; None if all are."""
    none = torch.zeros(1, *latents.shape[-2:])
    held = [none if mask is None else held_factor(mask, image) for mask, image in zip(masks, images, strict=True)]
    return torch.stack(held) if any(factor.any() for factor in held) else None


def loss_mask(masks: Sequence[Tensor | None], images: Sequence[ConceptImage], latents: Tensor) -> Tensor | None:
    """`Batch.mask` (B 1 h w, fp32) for latents (B C h w): ones for each sample without a mask; None if all are."""
    if all(mask is None for mask in masks):
        return None
    ones = torch.ones(1, *latents.shape[-2:])
    return torch.stack(
        [ones if mask is None else loss_factor(mask, image) for mask, image in zip(masks, images, strict=True)]
    )


def cut_out(picture: Pixels) -> Tensor:
    """What an inpainting model is shown of a picture, 3 H W: its conditioning picture, or itself without its mask.

    What is cut out is 0, a middle grey, as diffusers' inpainting pipeline has it. Without a mask everything is.
    """
    if picture.conditioning is not None:
        return picture.conditioning
    if picture.mask is None:
        return torch.zeros_like(picture.pixels)
    return picture.pixels * (picture.mask < 0.5)


def inpainting_controls(masks: Sequence[Tensor | None], shown: Sequence[Tensor]) -> dict[str, Tensor]:
    """`Batch.controls` of an inpainting model: `mask` (B 1 h w, 1 where it has to draw, else 0), `masked_latents`.

    masks: at the latents' size; None: everything is to be drawn. shown: the latents (C h w) of `cut_out`.
    """
    latents = torch.stack(list(shown)).float()
    ones = torch.ones(1, *latents.shape[-2:])
    drawn = [ones if mask is None else (mask >= 0.5).float() for mask in masks]
    return {"mask": torch.stack(drawn), "masked_latents": latents}
