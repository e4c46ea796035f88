"""What the model will see: pictures as training shows them, each with the caption of that showing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.dataset.batches import Draw, Plan
from core.dataset.draws import shuffled
from core.dataset.views import Shown

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

DIMMED = 0.25
"""How bright a picture stays where its mask is black."""


@dataclass(frozen=True)
class Seen:
    """One showing of a picture.

    picture: RGB, exactly as large as the model gets it, dimmed outside of its mask where that counts this time.
    conditioning: the picture that an inpainting base is shown with it. draw: when and with which caption.
    masked: whether some of it is dimmed.
    """

    shown: Shown
    draw: Draw
    picture: Image
    conditioning: Image | None = None
    masked: bool = False


def seen(plan: Plan, epoch: int, count: int = 8) -> list[Seen]:
    """Some of the showings of an epoch, each of another picture, drawn by seed and epoch.

    PictureError for a picture that can't be read any more, or has changed. Imports torch.
    """
    draws = [draw for step in plan.epoch(epoch) for rank in step.ranks for batch in rank for draw in batch]
    chosen: dict[int, Draw] = {}
    for draw in shuffled([draw for draw in draws if draw.counts], plan.seed, "seen", epoch):
        chosen.setdefault(draw.entry, draw)
        if len(chosen) == count:
            break
    return [_seen(plan.shown(draw), draw) for draw in chosen.values()]


def _seen(shown: Shown, draw: Draw) -> Seen:
    from core.dataset.pixels import read_pixels

    pixels = read_pixels(shown)
    mask = pixels.mask if draw.masked else None
    conditioning = None if pixels.conditioning is None else _picture(pixels.conditioning)
    masked = mask is not None and bool((mask < 1).any())
    return Seen(shown, draw, _picture(pixels.pixels, mask), conditioning, masked)


def _picture(pixels: Tensor, mask: Tensor | None = None) -> Image:
    """Pixels (3 H W, -1 to 1) as a picture; outside of the mask (1 H W, 0 to 1) dimmed."""
    from PIL import Image

    values = (pixels + 1) * 127.5
    if mask is not None:
        values = values * (DIMMED + (1 - DIMMED) * mask)
    return Image.fromarray(values.round().clamp(0, 255).byte().permute(1, 2, 0).numpy())
