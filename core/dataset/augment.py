"""Changes the colours of a picture: brighter, more contrast, stronger colours, another hue."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

    from core.dataset.views import View


def recoloured(picture: Image, view: View, like: Image | None = None) -> Image:
    """An RGB picture with a view's brightness, contrast, saturation and hue, in this order; untouched if all are off.

    Each is rounded to 8 bits. like: the picture whose mean grey contrast turns around; without it the picture itself.
    A picture that belongs to another stays equal to it where they were equal.
    """
    pivot = like
    if view.brightness != 1:
        picture = brightened(picture, view.brightness)
        pivot = pivot and brightened(pivot, view.brightness)
    if view.contrast != 1:
        picture = contrasted(picture, view.contrast, mean_grey(pivot or picture))
    if view.saturation != 1:
        picture = saturated(picture, view.saturation)
    return with_hue(picture, view.hue) if view.hue else picture


def brightened(picture: Image, factor: float) -> Image:
    """Each value times the factor; 0 is black. As Pillow's `ImageEnhance.Brightness`."""
    from PIL import Image

    return Image.blend(Image.new("RGB", picture.size), picture, factor)


def mean_grey(picture: Image) -> int:
    """The mean of a picture's greys (luma of ITU-R 601), rounded."""
    from PIL import ImageStat

    return int(ImageStat.Stat(picture.convert("L")).mean[0] + 0.5)


def contrasted(picture: Image, factor: float, grey: int) -> Image:
    """Each value's distance from a grey times the factor. With `mean_grey` as Pillow's `ImageEnhance.Contrast`."""
    from PIL import Image

    return Image.blend(Image.new("RGB", picture.size, (grey, grey, grey)), picture, factor)


def saturated(picture: Image, factor: float) -> Image:
    """Each pixel's distance from its own grey times the factor; 0 is grey. As Pillow's `ImageEnhance.Color`."""
    from PIL import Image

    return Image.blend(picture.convert("L").convert("RGB"), picture, factor)


def with_hue(picture: Image, share: float) -> Image:
    """All hues shifted by a share of the circle (of HSV), value and saturation unchanged.

    Pillow's own HSV has 8 bits and loses some of the colours; this is exact up to the rounding at the end. A channel is
    v - c max(0, min(k, 4 - k, 1)) with v the value, c the chroma and k = (n + 6 hue) mod 6, n = 5, 3, 1 for R, G, B.
    """
    import numpy as np
    from PIL import Image

    red, green, blue = (np.asarray(channel, dtype=np.float32) for channel in picture.split())
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    is_red, is_green = value == red, value == green
    across = np.where(is_red, green - blue, np.where(is_green, blue - red, red - green))
    sector = np.where(is_red, np.float32(0), np.where(is_green, np.float32(2), np.float32(4)))
    hue = across / np.maximum(chroma, 1) + sector  # sixths of the circle
    shifted = np.empty((*value.shape, 3), np.uint8)
    for channel, start in enumerate((5, 3, 1)):
        k = hue + np.float32(start + 6 * share)
        k -= 6 * np.floor(k / 6)
        shifted[..., channel] = value - chroma * np.minimum(k, 4 - k).clip(0, 1) + np.float32(0.5)
    return Image.fromarray(shifted)
