"""The sizes that pictures are brought to, and which of them a picture gets."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from core.contracts import Size
from core.errors import PictureError

if TYPE_CHECKING:
    from core.dataset.settings import Buckets


class Resolution(NamedTuple):
    """A square's side, whose area the buckets have; or, if `exact`, the one size of all pictures. In pixels."""

    width: int
    height: int
    exact: bool = False


def parse_resolutions(text: str) -> tuple[Resolution, ...]:
    """The resolutions in `512`, `512, 768, 1024` or `768x1152` (width x height). ValueError for anything else."""
    found = []
    for piece in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,5})\s*(?:[xX×]\s*(\d{1,5})\s*)?", piece)
        if not match:
            raise ValueError(f"{piece.strip()!r} is no resolution; write 512, or 512, 768, or 768x1152")
        width, height = int(match[1]), int(match[2] or match[1])
        if not all(64 <= side <= 4096 for side in (width, height)):
            raise ValueError(f"{piece.strip()} is out of bounds: sides go from 64 to 4096")
        if match[2] and (width % 8 or height % 8):
            raise ValueError(f"{piece.strip()} can't be had exactly: both sides must be multiples of 8")
        found.append(Resolution(width, height, exact=match[2] is not None))
    if len(set(found)) < len(found):
        raise ValueError("the same resolution stands there twice")
    return tuple(found)


@lru_cache(maxsize=64)
def bucket_sizes(resolution: int, step: int, minimum: int, maximum: int) -> tuple[Size, ...]:
    """All sizes of at most the area of a square of side `resolution`, from narrow to wide.

    Sides are multiples of `step`, from `minimum` (rounded down to one) to `maximum` (rounded up). These are the buckets
    that kohya's trainer makes for a square resolution. Empty where no size fits.
    """
    shortest, longest = max(step, minimum // step * step), math.ceil(maximum / step) * step
    square = resolution // step * step
    sides = {(square, square)} if square else set()
    for width in range(shortest, longest + 1, step):
        height = min(longest, resolution**2 // width // step * step)
        if height >= shortest:
            sides |= {(width, height), (height, width)}
    return tuple(Size(height=height, width=width) for width, height in sorted(sides))


def choose_bucket(picture: Size, sizes: Sequence[Size]) -> Size:
    """The bucket of exactly the picture's size, or else the one nearest in aspect ratio (width over height)."""
    if picture in sizes:
        return picture
    ratio = picture.width / picture.height
    return min(sizes, key=lambda size: abs(size.width / size.height - ratio))


def shrinking_bucket(picture: Size, resolution: int, step: int, maximum: int) -> Size:
    """A bucket that the picture never has to be enlarged for: of its own shape, its sides rounded down to `step`.

    A picture of a larger area than the resolution's square is first brought to that area, as kohya's trainer does;
    of the two ways to round it, the one that keeps the aspect ratio better is taken. No side is over `maximum`.
    PictureError for a picture with a side shorter than `step`.
    """
    width, height = picture.width, picture.height
    if picture.area > resolution**2:
        width, height = _at_area(width / height, resolution**2, step)
    size = Size(height=_floor(min(height, maximum), step), width=_floor(min(width, maximum), step))
    if not size.area:
        raise PictureError(
            f"It is {picture}, and no bucket is that narrow.",
            f"Buckets are multiples of {step} px, and it may not be enlarged.",
            "Crop it, or switch 'Never enlarge' off.",
        )
    return size


def bucket_for(picture: Size, settings: Buckets, resolution: Resolution) -> Size:
    """The bucket that the settings give to a picture at a resolution. PictureError where there is none."""
    if resolution.exact:
        return _exact_bucket(picture, settings, resolution)
    side = resolution.width
    if not settings.aspect_ratio_bucketing:
        if settings.no_upscale:
            side = min(side, picture.width, picture.height)
        return shrinking_bucket(Size(side, side), side, settings.step, settings.maximum)
    if settings.no_upscale:
        return shrinking_bucket(picture, side, settings.step, settings.maximum)
    return choose_bucket(picture, bucket_sizes(side, settings.step, settings.minimum, settings.maximum))


def _exact_bucket(picture: Size, settings: Buckets, resolution: Resolution) -> Size:
    size = Size(height=resolution.height, width=resolution.width)
    if settings.no_upscale and (picture.width < size.width or picture.height < size.height):
        raise PictureError(
            f"It is {picture}, smaller than {size}, and may not be enlarged.",
            do="Switch 'Never enlarge' off, or choose a smaller resolution.",
        )
    return size


def _at_area(ratio: float, area: int, step: int) -> tuple[int, int]:
    """Width and height of about `area`, one of them a multiple of `step`."""
    width = _floor(int(math.sqrt(area * ratio) + 0.5), step)
    height = _floor(int(math.sqrt(area / ratio) + 0.5), step)
    ways = []
    if width and (other := _floor(int(width / ratio + 0.5), step)):
        ways.append((abs(width / other - ratio), (width, int(width / ratio + 0.5))))
    if height and (other := _floor(int(height * ratio + 0.5), step)):
        ways.append((abs(other / height - ratio), (int(height * ratio + 0.5), height)))
    return min(ways)[1] if ways else (width, height)


def _floor(side: int, step: int) -> int:
    return side // step * step
