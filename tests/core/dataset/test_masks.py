"""The factor of a mask, held against the formula in float64; what an inpainting model is shown."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.dataset.masks import (
    at_latent_size,
    cut_out,
    held_factor,
    held_mask,
    inpainting_controls,
    loss_factor,
    loss_mask,
)
from core.dataset.pixels import Pixels
from core.dataset.settings import ConceptImage


def random_mask(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, height, width, generator=torch.Generator().manual_seed(seed))


def test_a_mask_shrinks_by_the_mean_of_each_area() -> None:
    mask = random_mask(64, 96)
    expected = mask.double().numpy().reshape(1, 8, 8, 12, 8).mean((2, 4))
    assert np.allclose(at_latent_size(mask, 8, 12).double().numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("normalised", [False, True])
def test_the_factor_is_the_formula(weight: float, normalised: bool) -> None:
    mask = random_mask(8, 12)
    image = ConceptImage(mask="file", unmasked_weight=weight, normalize_masked_area_loss=normalised)
    values = mask.double().numpy()
    expected = values * 1 + (1 - values) * weight
    expected = expected / expected.mean() if normalised else expected
    assert np.allclose(loss_factor(mask, image).double().numpy(), expected, rtol=1e-5)


def test_a_mask_that_leaves_nothing_stays_zero() -> None:
    image = ConceptImage(mask="file", unmasked_weight=0, normalize_masked_area_loss=True)
    assert loss_factor(torch.zeros(1, 4, 4), image).abs().max() == 0


def test_the_masks_of_a_batch() -> None:
    latents, mask = torch.zeros(3, 4, 8, 12), random_mask(8, 12)
    image = ConceptImage(mask="file", unmasked_weight=0.25)
    assert loss_mask([None, None, None], [image] * 3, latents) is None
    found = loss_mask([None, mask, None], [image] * 3, latents)
    assert found is not None
    assert found.shape == (3, 1, 8, 12) and found.dtype == torch.float32
    assert found[0].eq(1).all() and found[2].eq(1).all()
    assert torch.equal(found[1], loss_factor(mask, image))


def test_what_an_inpainting_model_is_shown() -> None:
    pixels, mask, given = torch.rand(3, 8, 8) + 0.1, torch.zeros(1, 8, 8), torch.rand(3, 8, 8)
    mask[:, 2:4, 2:4], mask[:, 5, 5] = 1, 0.4
    seen = cut_out(Pixels(pixels, mask, None))
    assert seen[:, 2:4, 2:4].abs().max() == 0
    assert torch.equal(seen[:, 4:], pixels[:, 4:]) and torch.equal(seen[:, :2], pixels[:, :2])
    assert cut_out(Pixels(pixels, None, None)).abs().max() == 0
    assert torch.equal(cut_out(Pixels(pixels, mask, given)), given)


def test_the_controls_of_a_batch() -> None:
    shown = [torch.rand(4, 2, 3), torch.rand(4, 2, 3)]
    mask = torch.tensor([[[0.0, 0.49, 0.5], [1.0, 0.2, 0.9]]])
    controls = inpainting_controls([None, mask], shown)
    assert controls["mask"].tolist() == [[[[1, 1, 1], [1, 1, 1]]], [[[0, 0, 1], [1, 0, 1]]]]
    assert torch.equal(controls["masked_latents"], torch.stack(shown))


@pytest.mark.parametrize("normalised", [False, True])
def test_what_is_held_is_what_the_mask_leaves(normalised: bool) -> None:
    """OneTrainer's masked prior preservation, written out."""
    mask = torch.rand(1, 5, 3, generator=torch.Generator().manual_seed(0))
    image = ConceptImage(
        mask="file",
        unmasked_weight=0.2,
        masked_prior_preservation_weight=3.0,
        normalize_masked_area_loss=normalised,
    )
    rest = [1 - (0.2 + 0.8 * value) for value in mask.flatten().double().tolist()]
    divided = sum(rest) / len(rest) if normalised else 1.0
    expected = torch.tensor([3 * value / divided for value in rest], dtype=torch.float64).reshape(1, 5, 3)
    torch.testing.assert_close(held_factor(mask, image).double(), expected, rtol=1e-5, atol=1e-7)


def test_nothing_is_held_without_a_mask_or_its_weight() -> None:
    latents, mask = torch.zeros(2, 4, 5, 3), torch.zeros(1, 5, 3)
    holding, not_holding = ConceptImage(masked_prior_preservation_weight=1.0), ConceptImage()
    assert held_mask([None, None], [holding] * 2, latents) is None
    assert held_mask([mask, mask], [not_holding] * 2, latents) is None
    found = held_mask([mask, None], [holding] * 2, latents)
    assert found is not None and found.shape == (2, 1, 5, 3)
    assert found[0].eq(0.9).all() and not found[1].any()
