"""Reads what a view shows of a picture, with its mask and its conditioning picture, as tensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from core.contracts import Size
from core.dataset.augment import recoloured
from core.dataset.manifest import Entry, sha256_of
from core.dataset.pictures import Decoded, decode, fit_mask, frame, read_file, to_pixels
from core.dataset.views import Shown
from core.errors import PictureError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

MASK_ENDING, CONDITIONING_ENDING = "-masklabel", "-condlabel"
"""What the name of a mask, or of a conditioning picture, adds to that of its picture; both are PNG files."""


class Pixels(NamedTuple):
    """What a view shows. pixels: 3 H W, fp32, -1 to 1. mask: 1 H W, fp32, 0 to 1. conditioning: as pixels.

    mask: None where the concept has none; all ones where this one picture has none. conditioning: None where the
    concept or the picture has none.
    """

    pixels: Tensor
    mask: Tensor | None
    conditioning: Tensor | None


def read_pixels(shown: Shown) -> Pixels:
    """Read, decode and lay out a picture, and what belongs to it. Colour changes go to its conditioning picture too.

    PictureError for a file that is gone, broken or no longer the one that the entry was made from, and for a mask or
    conditioning picture of another size than its picture.
    """
    import torch

    entry, view, image = shown
    own = _read(entry.path, entry.sha256, image.alpha_colour)
    framed = frame(own.picture, entry, view)
    mask = conditioning = None
    if image.mask != "off":
        grey = own.alpha
        if image.mask == "file":
            grey = _beside(mask_path(entry.path), entry.mask, entry, "#000000")
            grey = grey and grey.convert("L")
        size = (1, view.bucket.height, view.bucket.width)
        mask = fit_mask(grey, entry, view) if grey else torch.ones(size)
    if image.conditioning:
        beside = _beside(conditioning_path(entry.path), entry.conditioning, entry, "#808080")
        if beside:
            conditioning = to_pixels(recoloured(frame(beside, entry, view), view, like=framed))
    return Pixels(to_pixels(recoloured(framed, view)), mask, conditioning)


def mask_path(path: Path | str) -> Path:
    """Where the mask of a picture lies: `cat-masklabel.png` beside `cat.jpg`. White is what counts."""
    return _named(path, MASK_ENDING)


def conditioning_path(path: Path | str) -> Path:
    """Where the conditioning picture of a picture lies: `cat-condlabel.png` beside `cat.jpg`."""
    return _named(path, CONDITIONING_ENDING)


def is_companion(path: Path | str) -> bool:
    """Whether a file's name says that it is the mask or the conditioning picture of another."""
    return Path(path).stem.endswith((MASK_ENDING, CONDITIONING_ENDING))


def check_companion(path: Path | str, size: Size, other: Path | str, its: Size) -> str:
    """What is wrong with a mask or conditioning picture `other` of size `its`; empty: nothing."""
    if its == size:
        return ""
    return f"{path} has {size} pixels, but {other} has {its}. Both must have the same size."


def _named(path: Path | str, ending: str) -> Path:
    path = Path(path)
    return path.with_name(f"{path.stem}{ending}.png")


def _beside(path: Path, sha256: str, entry: Entry, background: str) -> Image | None:
    """A mask or conditioning picture of an entry; None where it has none."""
    if not sha256:
        return None
    found = _read(str(path), sha256, background).picture
    if problem := check_companion(entry.path, entry.size, path, Size(height=found.height, width=found.width)):
        raise PictureError(problem, do="Save one of them again in the size of the other.")
    return found


def _read(path: str, sha256: str, background: str) -> Decoded:
    data = read_file(path)
    if sha256_of(data) != sha256:
        raise PictureError(
            f"{path} has changed since the run began.", do="Put it back as it was, or start a new workspace."
        )
    return decode(data, path, background)
