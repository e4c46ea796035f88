"""The sizes that pictures are brought to, and which of them a picture gets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from core.contracts import Size
from core.errors import PictureError

if TYPE_CHECKING:
    from core.dataset.settings import Buckets


def bucket_sizes(resolution: int, step: int, minimum: int, maximum: int) -> list[Size]:
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
    return [Size(height=height, width=width) for width, height in sorted(sides)]


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


def bucket_for(picture: Size, settings: Buckets) -> Size:
    """The bucket that the settings give to a picture. PictureError where there is none."""
    if not settings.aspect_ratio_bucketing:
        side = settings.resolution
        if settings.no_upscale:
            side = min(side, picture.width, picture.height)
        return shrinking_bucket(Size(side, side), side, settings.step, settings.maximum)
    if settings.no_upscale:
        return shrinking_bucket(picture, settings.resolution, settings.step, settings.maximum)
    sizes = bucket_sizes(settings.resolution, settings.step, settings.minimum, settings.maximum)
    return choose_bucket(picture, sizes)


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
