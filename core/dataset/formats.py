"""Which kinds of pictures are read here, by what, and up to which size."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

_log = logging.getLogger(__name__)

MAX_PIXELS = 2**29
"""The largest picture that is read: 23,170 x 23,170, which takes 2 GiB of memory once decoded, as much again while it
is converted or has transparent parts."""

_READ = ".png .apng .jpg .jpeg .jpe .jfif .webp .bmp .dib .gif .tif .tiff .tga .qoi .jp2 .ppm .pgm .pnm"
_FOREIGN = ".psd .svg .cr2 .cr3 .nef .arw .dng .orf .raf .raw .exr .hdr"

# only these readers are tried, whatever the name says: an EPS named .png would start Ghostscript
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "TGA", "QOI", "JPEG2000", "PPM")


class _PlugIn(NamedTuple):
    """A format that not every Pillow reads. feature: Pillow's own name for it, where Pillow may read it itself."""

    format: str
    suffixes: str
    package: str
    module: str
    feature: str = ""


_PLUG_INS = (
    _PlugIn("HEIF", ".heic .heif .hif", "pillow-heif", "pillow_heif"),
    _PlugIn("AVIF", ".avif", "pillow-avif-plugin", "pillow_avif", "avif"),
    _PlugIn("JXL", ".jxl", "pillow-jxl-plugin", "pillow_jxl"),
)


@cache
def suffixes() -> frozenset[str]:
    """What the file names of readable pictures end in, in lower case."""
    return frozenset(" ".join([_READ, *(plug_in.suffixes for plug_in in _plug_ins())]).split())


@cache
def foreign_suffixes() -> Mapping[str, str]:
    """The endings of pictures that can't be read here, each with the package that would read them; empty: none does."""
    lacking = {end: plug_in.package for plug_in in _PLUG_INS for end in plug_in.suffixes.split()}
    known = {**dict.fromkeys(_FOREIGN.split(), ""), **lacking}
    return {end: package for end, package in known.items() if end not in suffixes()}


@cache
def readers() -> tuple[str, ...]:
    """Pillow's names of the readers that are tried, after raising Pillow's own limit of size for the whole process."""
    from PIL import Image

    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, MAX_PIXELS)
    return (*_FORMATS, *(plug_in.format for plug_in in _plug_ins()))


@cache
def _plug_ins() -> tuple[_PlugIn, ...]:
    """Those that are ready. One that is installed and broken is as if it weren't there, and the log says why."""
    return tuple(plug_in for plug_in in _PLUG_INS if _is_ready(plug_in))


def _is_ready(plug_in: _PlugIn) -> bool:
    from PIL import features

    if plug_in.feature and features.check(plug_in.feature):
        return True
    if find_spec(plug_in.module) is None:
        return False
    try:
        module = import_module(plug_in.module)
        if plug_in.format == "HEIF":  # the others announce themselves when they are imported
            module.register_heif_opener()
    except (ImportError, OSError) as error:
        _log.warning("%s is installed but can't be used: %s", plug_in.package, error)
        return False
    return True
