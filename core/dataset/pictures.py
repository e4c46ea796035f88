"""Reads pictures of every kind as RGB, and lays them into their buckets."""

from __future__ import annotations

import math
import struct
from contextlib import nullcontext
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from core.contracts import Framing, Size
from core.dataset.augment import recoloured
from core.dataset.formats import MAX_PIXELS, readers
from core.errors import PictureError

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling
    from PIL.ImageCms import ImageCmsTransform
    from torch import Tensor

    from core.dataset.manifest import Entry, Tile
    from core.dataset.views import View

_TINY = 1e-6  # pixels; cos 90° is not quite 0

_LARGE = 2**26  # pixels; of pictures over this, one is decoded at a time, however many threads there are
_one_large = Lock()

# what Pillow's readers raise on files that are broken
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    RuntimeError,
    struct.error,
)

FITTING = "lanczos 2"
"""How pictures are read and resized: part of the cache's keys. Change it when one would come out differently."""


class Decoded(NamedTuple):
    """A picture as RGB.

    converted: what had to be changed for that (empty: nothing that one sees). alpha: how opaque each pixel is (L);
    None where all are.
    """

    picture: Image
    converted: str
    alpha: Image | None = None


def load_picture(path: Path | str) -> Image:
    """A picture as RGB, upright. PictureError, naming the file, where it can't be read.

    Transparent parts become white, more than 8 bits are scaled to 8, of an animation the first frame is taken,
    CMYK, and RGB that isn't sRGB, are converted by their own colour profile where they have one.
    """
    return decode(read_file(path), path).picture


def read_file(path: Path | str) -> bytes:
    """The bytes of a picture's file. PictureError where there are none."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise PictureError(f"{path} can't be read.", f"{error.strerror}.") from error
    if not data:
        raise PictureError(f"{path} is empty (0 bytes).", do="Copy it again.")
    return data


def decode(data: bytes, path: Path | str, background: str = "#ffffff") -> Decoded:
    """What `load_picture` does, from bytes. path: for the error. background: what transparent parts are laid on."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(BytesIO(data), formats=readers()) as opened:
            pixels = opened.width * opened.height
            if pixels > MAX_PIXELS:
                raise Image.DecompressionBombError
            changes = _changes_of_file(opened)
            with _one_large if pixels > _LARGE else nullcontext():
                opened.load()
                if opened.format != "JXL" or getattr(opened, "jpeg", False):  # others of that kind come upright
                    ImageOps.exif_transpose(opened, in_place=True)
                coloured, colours = _in_srgb(opened)
                picture, change, alpha = _to_rgb(coloured, background)
    except UnidentifiedImageError as error:
        raise PictureError(f"{path} is no picture, or a broken one.", do="Save it again as PNG or JPEG.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        why = f"It has more than {MAX_PIXELS // 10**6} million pixels."
        raise PictureError(f"{path} is too large.", why, "Make it smaller, or cut it into parts.") from error
    except MemoryError as error:
        raise PictureError(f"{path} doesn't fit into memory.", do="Make it smaller.") from error
    except _BROKEN as error:
        raise PictureError(f"{path} is broken or cut off.", f"{error}.", "Copy or download it again.") from error
    return Decoded(picture, ", ".join([*changes, *filter(None, (colours, change))]), alpha)


def _changes_of_file(opened: Image) -> list[str]:
    """What is lost of a file that is opened and not read yet."""
    changes = []
    # an MPO is a photograph with a smaller copy of itself behind it
    if getattr(opened, "n_frames", 1) > 1 and opened.format != "MPO":
        which = "its main picture" if opened.format == "HEIF" else "the first frame"
        changes.append(f"animated or of several pages: only {which} is used")
    bits = opened.info.get("bit_depth", 8) if opened.format == "HEIF" else 8
    if bits > 8:
        changes.append(f"{bits} bits per colour: scaled to 8")
    tiles = getattr(opened, "tile", [])
    if any(";16" in str(tile[3]) for tile in tiles):
        changes.append("16 bits per colour: scaled to 8")
    return changes


def _to_rgb(image: Image, background: str) -> tuple[Image, str, Image | None]:
    """RGB, what one might see of the change, and the alpha channel if it hides something.

    Grey and palette pictures look the same after it: no word of them.
    """
    mode = image.mode
    if mode == "F" or mode.startswith("I"):
        grey, bits = _to_eight_bits(image)
        return grey.convert("RGB"), bits, None
    if mode == "CMYK":
        return _from_cmyk(image), "CMYK: converted to RGB", None
    if mode in ("LAB", "YCbCr", "HSV"):
        return image.convert("RGB"), f"{mode}: converted to RGB", None
    if "A" in mode or "a" in mode or "transparency" in image.info:
        return _laid_on(image.convert("LA").convert("RGBA") if mode == "La" else image.convert("RGBA"), background)
    if mode == "RGB" and getattr(image, "n_frames", 1) == 1:
        return image, "", None  # a copy of a large photograph takes a tenth of the time of decoding it
    return image.convert("RGB"), "", None


def _laid_on(image: Image, background: str) -> tuple[Image, str, Image | None]:
    from PIL import Image

    alpha = image.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return image.convert("RGB"), "", None
    colour = "white" if background.lower() == "#ffffff" else background
    ground = Image.new("RGBA", image.size, background)
    return Image.alpha_composite(ground, image).convert("RGB"), f"transparent: laid on {colour}", alpha


def _to_eight_bits(image: Image) -> tuple[Image, str]:
    """A grey picture of 16 or 32 bits or of floats, scaled to 8 bits (Pillow's own conversion would clip some).

    Whole numbers up to 65535 count as 16 bits, larger ones as 32; floats as a share of 1.
    """
    import numpy as np
    from PIL import Image

    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all() or values.min() < 0:
        raise ValueError("it has values that are negative or not finite")
    if image.mode == "F":
        if values.max() > 1:
            raise ValueError("its numbers go beyond 1; save it with 8 or 16 bits")
        top, word = 1.0, "floating-point: scaled to 8 bits"
    else:
        top = 65535.0 if values.max() <= 65535 else 2.0**31 - 1
        word = "" if image.mode.startswith("I;16") else "more than 8 bits: scaled to 8"
    return Image.fromarray((values / top * 255 + 0.5).astype(np.uint8)), word


def _from_cmyk(image: Image) -> Image:
    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    if profile:
        try:
            own = ImageCms.ImageCmsProfile(BytesIO(profile))
            converted = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            converted = None  # a profile that can't be used: convert as if there were none
        if converted is not None:
            return converted
    return image.convert("RGB")


def _in_srgb(image: Image) -> tuple[Image, str]:
    """A picture whose colour profile is not sRGB (phones' Display P3, Adobe RGB), in sRGB, which models are trained on.

    A profile that doesn't fit, or that changes no colour by more than can be seen, is passed over.
    """
    profile = image.info.get("icc_profile")
    found = _to_srgb(profile, image.mode) if profile and image.mode in ("RGB", "RGBA") else None
    if found is None:
        return image, ""
    transform, name = found
    return transform.apply(image), f"colours of {name}: converted to sRGB"


_UNSEEN = 3  # of 255; what profiles of sRGB itself differ by


@lru_cache(maxsize=32)
def _to_srgb(profile: bytes, mode: str) -> tuple[ImageCmsTransform, str] | None:
    """What brings colours to sRGB, and the profile's name; None where nothing has to be done, or can be."""
    import numpy as np
    from PIL import Image, ImageCms

    try:
        own = ImageCms.ImageCmsProfile(BytesIO(profile))
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        transform = ImageCms.ImageCmsTransform(own, srgb, mode, mode, ImageCms.Intent.RELATIVE_COLORIMETRIC)
        colours = Image.fromarray(_some_colours(), "RGB").convert(mode)
        change = np.abs(np.asarray(transform.apply(colours), int) - np.asarray(colours, int)).max()
        name = ImageCms.getProfileDescription(own).strip() or "another profile"
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return (transform, name[:60]) if change > _UNSEEN else None


def _some_colours() -> Any:
    """5 x 5 x 5 colours as a picture, 5 25 3."""
    import numpy as np

    steps = np.linspace(0, 255, 5).astype(np.uint8)
    return np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(5, 25, 3)


def resized_size(picture: Size, bucket: Size) -> Size:
    """The size at which the picture just covers its bucket, as kohya's trainer rounds it."""
    if picture.width * bucket.height > bucket.width * picture.height:
        scale = bucket.height / picture.height
    else:
        scale = bucket.width / picture.width
    width, height = int(picture.width * scale + 0.5), int(picture.height * scale + 0.5)
    return Size(height=max(height, bucket.height), width=max(width, bucket.width))


def turned_size(bucket: Size, angle: float) -> Size:
    """The smallest upright box that holds the bucket after it is turned by `angle` degrees."""
    cosine, sine = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    width, height = bucket.width * cosine + bucket.height * sine, bucket.width * sine + bucket.height * cosine
    return Size(height=math.ceil(height - _TINY), width=math.ceil(width - _TINY))


class _Layout(NamedTuple):
    """The size that a picture is brought to, and the upright box of it that holds all that is shown."""

    scaled: Size
    box: Size
    top: int
    left: int


def _layout(picture: Size, view: View) -> _Layout:
    box = turned_size(view.bucket, view.angle)
    scaled = resized_size(picture, box)
    top, left = view.place
    return _Layout(scaled, box, _start(scaled.height - box.height, top), _start(scaled.width - box.width, left))


def _start(spare: int, share: float) -> int:
    """Where a crop begins: each of the places as likely as the others for an even share; a half is the middle."""
    return max(0, math.ceil(share * (spare + 1)) - 1)


def framing(entry: Entry, view: View) -> Framing:
    """Where a picture lies in its bucket: the crop that is really cut, unlike kohya's letterbox offsets.

    The crop is counted in the picture as it is after resizing; of a mirrored one, the left in the mirrored one; of a
    turned one, it is the upright box around what is shown. original: the whole picture's size, of a tile too.
    """
    tile = entry.tile
    scaled, box, top, left = _layout(Size(tile.side, tile.side) if tile else entry.size, view)
    if tile:
        scaled, top, left = tile.scaled, tile.top + view.shift[0] + top, tile.left + view.shift[1] + left
    if view.flip:
        left = scaled.width - box.width - left
    return Framing((entry.height, entry.width), (top, left), (view.bucket.height, view.bucket.width))


def frame(picture: Image, entry: Entry, view: View, resample: Resampling | None = None) -> Image:
    """The part of a picture that a view shows, as large as its bucket; colours stay as they are.

    picture: the whole one; for a tile, it may be at the size of its scale already. It is resized to cover the bucket,
    by `resample` (without it by Pillow's Lanczos, which smooths what it shrinks, in both directions; kohya's trainer
    takes an area mean where both sides shrink), and then cut. A turned one is resized to cover the box around the
    turned bucket, so that nothing outside of the picture is shown, and turned around the middle of what is cut.
    """
    from PIL.Image import Resampling, Transpose

    smooth = Resampling.LANCZOS if resample is None else resample
    if entry.tile:
        picture = cut_tile(picture, entry.tile, view.shift, smooth)
    layout = _layout(size_of(picture), view)
    picture = resized(picture, layout.scaled, smooth)
    if view.angle % 90:
        return _turned(picture, layout, view, Resampling.BICUBIC if resample is None else resample)
    _, box, top, left = layout
    picture = picture.crop((left, top, left + box.width, top + box.height))
    if view.flip:
        picture = picture.transpose(Transpose.FLIP_LEFT_RIGHT)
    turns = (None, Transpose.ROTATE_90, Transpose.ROTATE_180, Transpose.ROTATE_270)
    turn = turns[round(view.angle / 90) % 4]
    return picture if turn is None else picture.transpose(turn)


def cut_tile(picture: Image, tile: Tile, shift: tuple[int, int], resample: Resampling) -> Image:
    """A tile of a picture, which is brought to the tile's scale first if it isn't there."""
    top, left = tile.top + shift[0], tile.left + shift[1]
    return resized(picture, tile.scaled, resample).crop((left, top, left + tile.side, top + tile.side))


def resized(picture: Image, size: Size, resample: Resampling) -> Image:
    """The picture at a size; itself where it has it already."""
    return picture if size_of(picture) == size else picture.resize((size.width, size.height), resample)


def _turned(picture: Image, layout: _Layout, view: View, resample: Resampling) -> Image:
    """The bucket, turned against the picture around the middle of the layout's box, read from the picture."""
    from PIL.Image import Transform

    angle, mirror = math.radians(view.angle), -1 if view.flip else 1
    cosine, sine = math.cos(angle), math.sin(angle)
    across, down = view.bucket.width / 2, view.bucket.height / 2
    x, y = layout.left + layout.box.width / 2, layout.top + layout.box.height / 2
    to_x = (mirror * cosine, -mirror * sine, x - mirror * (cosine * across - sine * down))
    to_y = (sine, cosine, y - (sine * across + cosine * down))
    size = (view.bucket.width, view.bucket.height)
    return picture.transform(size, Transform.AFFINE, to_x + to_y, resample)


def size_of(picture: Image) -> Size:
    """A picture's width and height."""
    return Size(height=picture.height, width=picture.width)


def fit(picture: Image, entry: Entry, view: View) -> Tensor:
    """An RGB picture as a view shows it: pixels (3 H W, fp32, -1 to 1) of exactly the bucket's size."""
    return to_pixels(recoloured(frame(picture, entry, view), view))


def fit_mask(mask: Image, entry: Entry, view: View) -> Tensor:
    """A grey picture (L) of the same size as its picture, laid out exactly as `fit` does it: 1 H W, fp32, 0 to 1.

    It is resized and turned bilinearly: Lanczos would draw rings around its edges.
    """
    import numpy as np
    import torch
    from PIL.Image import Resampling

    values = np.array(frame(mask, entry, view, Resampling.BILINEAR), dtype=np.uint8)
    return torch.from_numpy(values)[None].float().div_(255)


def to_pixels(picture: Image) -> Tensor:
    """An RGB picture as 3 H W, fp32, -1 to 1."""
    import numpy as np
    import torch

    values = np.array(picture, dtype=np.uint8)  # a copy: torch wants memory that it may write
    return torch.from_numpy(values).permute(2, 0, 1).contiguous().float().div_(127.5).sub_(1)
