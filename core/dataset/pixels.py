"""Reads what a view shows of a picture, with its mask and its conditioning picture, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from core.contracts import Size
from core.dataset.augment import recoloured
from core.dataset.companions import check_companion, conditioning_path, mask_path
from core.dataset.manifest import Entry, sha256_of
from core.dataset.pictures import decode, fit_mask, frame, read_file, resized, size_of, to_pixels
from core.dataset.recent import Recent
from core.dataset.views import Shown
from core.errors import PictureError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

_NOTHING, _MIDDLE_GREY = "#000000", "#808080"  # behind transparent parts of masks, and of conditioning pictures

_recent: Recent[_Source] = Recent(2**30)
"""Pictures at the scale of their tiles, so that a large one isn't decoded for each of them."""


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

    The last pictures that tiles were cut from are kept, up to 1 GiB or the last one alone (see `forget_pictures`).
    PictureError for a file that is gone, broken or no longer the one that the entry was made from, and for a mask or
    conditioning picture of another size than its picture. Any number of threads may call it.
    """
    return _read(shown, {})


def read_together(shown: Sequence[Shown]) -> list[Pixels]:
    """What `read_pixels` gives for each; a file that several of them show is read once, and kept until all are done."""
    whole: _Whole = {}
    return [_read(one, whole) for one in shown]


def forget_pictures() -> None:
    """Free the memory of the pictures that tiles were cut from."""
    _recent.clear()


class _Source(NamedTuple):
    """A decoded file: RGB, and how opaque it is (None: all of it). size: its own, whatever it was brought to."""

    picture: Image
    alpha: Image | None
    size: Size


class _File(NamedTuple):
    """What is read of a file. background: what its transparent parts are laid on. scale: that of the tiles, if any.

    grey: whether it is a mask, which is brought to its scale as `fit_mask` does it.
    """

    path: str
    sha256: str
    background: str
    scale: Size | None
    grey: bool = False


_Whole = dict[_File, _Source]


def _read(shown: Shown, whole: _Whole) -> Pixels:
    """whole: the whole pictures that were read so far and may be needed again."""
    entry, view, image = shown
    scale = entry.tile and entry.tile.scaled
    own = _source(_File(entry.path, entry.sha256, image.alpha_colour, scale), whole)
    assert own.size == entry.size, f"{entry.path} is {own.size}, not {entry.size}"
    framed = frame(own.picture, entry, view)
    mask = conditioning = None
    if image.mask != "off":
        grey = own.alpha if image.mask == "alpha" else _mask(entry, whole)
        mask = _all_ones(view.bucket) if grey is None else fit_mask(grey, entry, view)
    if image.conditioning and entry.conditioning:
        file = _File(str(conditioning_path(entry.path)), entry.conditioning, _MIDDLE_GREY, scale)
        beside = _beside(file, entry, whole).picture
        conditioning = to_pixels(recoloured(frame(beside, entry, view), view, like=framed))
    return Pixels(to_pixels(recoloured(framed, view)), mask, conditioning)


def _mask(entry: Entry, whole: _Whole) -> Image | None:
    """The picture in the mask's file, grey; None where there is none."""
    if not entry.mask:
        return None
    scale = entry.tile and entry.tile.scaled
    file = _File(str(mask_path(entry.path)), entry.mask, _NOTHING, scale, grey=True)
    return _beside(file, entry, whole).picture


def _all_ones(bucket: Size) -> Tensor:
    import torch

    return torch.ones(1, bucket.height, bucket.width)


def _beside(file: _File, entry: Entry, whole: _Whole) -> _Source:
    """A file that belongs to an entry. PictureError where it has another size."""
    found = _source(file, whole)
    if problem := check_companion(entry.path, entry.size, file.path, found.size):
        raise PictureError(problem, do="Save one of them again in the size of the other.")
    return found


def _source(file: _File, whole: _Whole) -> _Source:
    """A file's picture, from memory where it is there and the file wasn't written since."""
    if file.scale is None:
        if file not in whole:
            whole[file] = _decoded(file)
        return whole[file]
    try:
        state = Path(file.path).stat()
    except OSError as error:
        raise PictureError(f"{file.path} can't be read.", f"{error.strerror}.") from error
    return _recent.get((file, state.st_mtime_ns, state.st_size), lambda: _decoded(file), _bytes_of)


def _bytes_of(source: _Source) -> int:
    """The memory that it takes: Pillow keeps RGB as four bytes a pixel."""
    channels = (4 if source.picture.mode == "RGB" else 1) + (source.alpha is not None)
    return channels * source.picture.width * source.picture.height


def _decoded(file: _File) -> _Source:
    """A file's picture at its scale. PictureError where the file is no longer what it was."""
    from PIL.Image import Resampling

    data = read_file(file.path)
    if sha256_of(data) != file.sha256:
        raise PictureError(
            f"{file.path} has changed since the run began.", do="Put it back as it was, or start a new workspace."
        )
    picture, _, alpha = decode(data, file.path, file.background)
    size = size_of(picture)
    if file.grey:
        picture = picture.convert("L")
    if file.scale is not None:
        picture = resized(picture, file.scale, Resampling.BILINEAR if file.grey else Resampling.LANCZOS)
        alpha = alpha and resized(alpha, file.scale, Resampling.BILINEAR)
    return _Source(picture, alpha, size)
