"""What encodes pictures and captions, as the cache and the loader see it, and the keys of what comes out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from core.contracts import Part
from core.dataset.masks import at_latent_size, cut_out
from core.dataset.pictures import FITTING
from core.dataset.pixels import Pixels
from core.dataset.views import Shown
from core.errors import TrainingError

Item = TypeVar("Item")


@dataclass(frozen=True)
class ImageEncoder:
    """A VAE.

    encode: pixels (B 3 H W, fp32, -1 to 1, on the CPU) -> latents (B C h w); on what device is its own affair.
    fingerprint: of its weights. dtype: what it calculates in. batch_size: every call gets so many pictures, the last of
    them repeated where there are fewer, because batches of different sizes differ in the last bits.
    inpainting: whether the model is also shown a picture with a part cut out.
    """

    encode: Callable[[Tensor], Tensor]
    fingerprint: str
    dtype: str
    batch_size: int = 1
    inpainting: bool = False

    def key(self, shown: Shown) -> str:
        """Where this picture's tensors are in the cache: a hash of all that determines them."""
        entry, view, image = shown
        return digest(
            "latents",
            FITTING,
            entry.sha256,
            entry.tile,
            view,
            image.alpha_colour.lower(),
            image.mask,
            entry.mask if image.mask == "file" else "",
            self.inpainting,
            entry.conditioning if self.inpainting and image.conditioning else "",
            self.fingerprint,
            self.dtype,
            self.batch_size,
        )


@dataclass(frozen=True)
class TextEncoder:
    """One text encoder that isn't trained.

    encode: captions -> for each, its tensors by name, without a batch axis.
    fingerprint: of its weights and its tokenizer. The others as in ImageEncoder, or as in the base's settings.
    """

    part: Part
    encode: Callable[[Sequence[str]], list[dict[str, Tensor]]]
    fingerprint: str
    dtype: str
    layer_skip: int = 0
    max_token_length: int = 75
    weighted_prompts: bool = False
    batch_size: int = 1

    def key(self, caption: str) -> str:
        """Where this caption's encoding is in the cache: a hash of all that determines it."""
        return digest(
            "text",
            self.part,
            caption,
            self.fingerprint,
            self.dtype,
            1 + self.layer_skip,  # what CLIP skip counts
            self.max_token_length,
            self.weighted_prompts,
            self.batch_size,
        )


def encode_pictures(
    pictures: Sequence[Pixels], shown: Sequence[Shown], encoder: ImageEncoder
) -> list[dict[str, Tensor]]:
    """The tensors of pictures of one bucket, on the CPU, fp32, the same as the cache would hold.

    `latents` C h w; `mask` 1 h w where there is one; `conditioning` C h w for inpainting models: what they see.
    TrainingError where the VAE gives values that are not finite.
    """
    found = [{"latents": latents} for latents in _encode([picture.pixels for picture in pictures], shown, encoder)]
    if encoder.inpainting:
        for tensors, latents in zip(
            found, _encode([cut_out(picture) for picture in pictures], shown, encoder), strict=True
        ):
            tensors["conditioning"] = latents
    for tensors, picture in zip(found, pictures, strict=True):
        if picture.mask is not None:
            height, width = tensors["latents"].shape[-2:]
            tensors["mask"] = at_latent_size(picture.mask, height, width)
    return found


def _encode(pixels: Sequence[Tensor], shown: Sequence[Shown], encoder: ImageEncoder) -> list[Tensor]:
    latents: list[Tensor] = []
    for chunk in chunks(pixels, encoder.batch_size):
        with torch.no_grad():
            encoded = encoder.encode(torch.stack(_padded(chunk, encoder.batch_size)))
        latents += [one.clone() for one in encoded[: len(chunk)].float().cpu()]
    broken = [one.entry.name for one, made in zip(shown, latents, strict=True) if not torch.isfinite(made).all()]
    if broken:
        raise TrainingError(
            f"The VAE gives values that are not finite for {', '.join(broken)}.",
            f"It calculates in {encoder.dtype}; SDXL's own VAE can't do so in fp16.",
            "Choose fp32 or bf16 as precision, or another VAE.",
        )
    return latents


def encode_captions(captions: Sequence[str], encoder: TextEncoder) -> list[dict[str, Tensor]]:
    """The encodings (on the CPU, in the precision they come in) of captions, the same as the cache would hold."""
    encoded: list[dict[str, Tensor]] = []
    for chunk in chunks(captions, encoder.batch_size):
        with torch.no_grad():
            some = encoder.encode(_padded(chunk, encoder.batch_size))[: len(chunk)]
        encoded += [{name: tensor.cpu() for name, tensor in one.items()} for one in some]
    return encoded


def chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """The items in order, so many at a time; the last chunk may be shorter."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def digest(*parts: object) -> str:
    """A key of all that determines a result, 40 hexadecimal digits; the parts are told apart by their lengths."""
    whole = hashlib.blake2b(digest_size=20)
    for part in parts:
        text = repr(part).encode()
        whole.update(len(text).to_bytes(8, "big") + text)
    return whole.hexdigest()


def _padded(items: Sequence[Item], size: int) -> list[Item]:
    return [*items, *[items[-1]] * (size - len(items))]
