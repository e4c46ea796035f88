"""Reads pictures of every kind as RGB, and lays them into their buckets."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from core.contracts import Framing, Size
from core.errors import PictureError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

_READ = ".png .apng .jpg .jpeg .jpe .jfif .webp .avif .bmp .dib .gif .tif .tiff .tga .qoi .jp2 .ppm .pgm .pnm"
_FOREIGN = ".heic .heif .jxl .psd .svg .cr2 .cr3 .nef .arw .dng .orf .raf .raw .exr .hdr"

SUFFIXES = frozenset(_READ.split())
"""What a picture's file name ends in; upper or lower case."""

FOREIGN_SUFFIXES = frozenset(_FOREIGN.split())
"""Pictures that aren't read here; they are named to the user, not passed over."""

# only these readers are tried, whatever the name says: an EPS named .png would start Ghostscript
_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "DIB", "GIF", "TIFF", "TGA", "QOI", "JPEG2000", "PPM")

# what Pillow's readers raise on files that are broken
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, struct.error)

FITTING = "lanczos 1"
"""How `fit` resizes. Part of the cache's keys: change it when the same picture would come out differently."""


@dataclass(frozen=True)
class Decoded:
    """A picture as RGB, and what had to be changed for that (empty: nothing that one sees)."""

    picture: Image
    converted: str


def load_picture(path: Path | str) -> Image:
    """A picture as RGB, upright. PictureError, naming the file, where it can't be read.

    Transparent parts become white, more than 8 bits are scaled to 8, of an animation the first frame is taken,
    CMYK is converted by its own colour profile where it has one.
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


def decode(data: bytes, path: Path | str) -> Decoded:
    """What `load_picture` does, from bytes; `path` is for the error."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(BytesIO(data), formats=_FORMATS) as opened:
            changes = _changes_of_file(opened)
            opened.load()
            ImageOps.exif_transpose(opened, in_place=True)
            picture, change = _to_rgb(opened)
    except UnidentifiedImageError as error:
        raise PictureError(f"{path} is no picture, or a broken one.", do="Save it again as PNG or JPEG.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError(f"{path} is too large to be read safely.", f"{error}", "Make it smaller.") from error
    except MemoryError as error:
        raise PictureError(f"{path} doesn't fit into memory.", do="Make it smaller.") from error
    except _BROKEN as error:
        raise PictureError(f"{path} is broken or cut off.", f"{error}.", "Copy or download it again.") from error
    return Decoded(picture, ", ".join([*changes, *([change] if change else [])]))


def _changes_of_file(opened: Image) -> list[str]:
    """What is lost of a file that is opened and not read yet."""
    changes = []
    # an MPO is a photograph with a smaller copy of itself behind it
    if getattr(opened, "n_frames", 1) > 1 and opened.format != "MPO":
        changes.append("animated or of several pages: only the first frame is used")
    tiles = getattr(opened, "tile", [])
    if any(";16" in str(tile[3]) for tile in tiles):
        changes.append("16 bits per colour: scaled to 8")
    return changes


def _to_rgb(image: Image) -> tuple[Image, str]:
    """RGB, and what one might see of the change. Grey and palette pictures look the same after it: no word of them."""
    mode = image.mode
    if mode == "F" or mode.startswith("I"):
        grey, bits = _to_eight_bits(image)
        return grey.convert("RGB"), bits
    if mode == "CMYK":
        return _from_cmyk(image), "CMYK: converted to RGB"
    if mode in ("LAB", "YCbCr", "HSV"):
        return image.convert("RGB"), f"{mode}: converted to RGB"
    if "A" in mode or "a" in mode or "transparency" in image.info:
        return _on_white(image.convert("LA").convert("RGBA") if mode == "La" else image.convert("RGBA"))
    return image.convert("RGB"), ""


def _on_white(image: Image) -> tuple[Image, str]:
    from PIL import Image

    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB"), ""
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB"), "transparent: laid on white"


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


def resized_size(picture: Size, bucket: Size) -> Size:
    """The size at which the picture just covers its bucket, as kohya's trainer rounds it."""
    if picture.width * bucket.height > bucket.width * picture.height:
        scale = bucket.height / picture.height
    else:
        scale = bucket.width / picture.width
    width, height = int(picture.width * scale + 0.5), int(picture.height * scale + 0.5)
    return Size(height=max(height, bucket.height), width=max(width, bucket.width))


def framing(picture: Size, bucket: Size, flip: bool = False) -> Framing:
    """Where a picture of this size lies in its bucket: the crop that is really cut, unlike kohya's letterbox offsets.

    Of a mirrored picture, the left is counted in the mirrored one.
    """
    resized = resized_size(picture, bucket)
    top, left = (resized.height - bucket.height) // 2, (resized.width - bucket.width) // 2
    if flip:
        left = resized.width - bucket.width - left
    original, target = (picture.height, picture.width), (bucket.height, bucket.width)
    return Framing(original=original, crop=(top, left), target=target)


def fit(picture: Image, bucket: Size, flip: bool = False) -> tuple[Tensor, Framing]:
    """Resize an RGB picture to cover its bucket, cut the middle, mirror it if `flip`.

    Returns pixels (3 H W, fp32, -1 to 1) and the framing. The resize is Pillow's Lanczos, which smooths what it
    shrinks, in both directions (kohya's trainer takes an area mean where both sides shrink).
    """
    import numpy as np
    import torch
    from PIL import Image

    size = Size(height=picture.height, width=picture.width)
    resized = resized_size(size, bucket)
    if resized != size:
        picture = picture.resize((resized.width, resized.height), Image.Resampling.LANCZOS)
    top, left = framing(size, bucket).crop
    picture = picture.crop((left, top, left + bucket.width, top + bucket.height))
    if flip:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels = torch.from_numpy(np.array(picture, dtype=np.uint8)).permute(2, 0, 1)
    return pixels.contiguous().float() / 127.5 - 1, framing(size, bucket, flip)
