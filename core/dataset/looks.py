"""Reads each picture of a data set once, and keeps what is needed to know of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from sys import intern
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from core.contracts import Size
from core.dataset.manifest import sha256_of
from core.dataset.pictures import decode, read_file
from core.dataset.settings import DetailCrops
from core.dataset.tiles import TilesFound, kept_tiles
from core.devices import cores
from core.errors import PictureError

if TYPE_CHECKING:
    from PIL.Image import Image

_KEPT = 1_000_000
"""So many pictures are remembered, at about 400 bytes each."""

_AT_ONCE = 512
"""So many are handed to the threads at a time: a million waiting tasks would take a gigabyte."""


class Job(NamedTuple):
    """A picture to read. background: what its transparent parts are laid on. crops: how tiles are cut, if they are."""

    path: str
    background: str = "#ffffff"
    crops: DetailCrops | None = None

    @property
    def way(self) -> str:
        """What a look depends on besides the file."""
        return intern(self.background + (self.crops.model_dump_json() if self.crops else ""))


@dataclass(frozen=True, slots=True)
class Look:
    """What there is to know of one picture, which was fully decoded.

    sha256: of the file. width, height: in pixels, upright. converted: what had to be changed. error: why it can't be
    used; all else is empty then. bytes: of the file. fingerprint, colours: see these functions. transparent: whether
    parts of it are. tiles: None where none are cut. changed, way: when the file was written (ns), and how it was looked
    at.
    """

    sha256: str = ""
    width: int = 0
    height: int = 0
    converted: str = ""
    error: str = ""
    bytes: int = 0
    fingerprint: int = 0
    colours: bytes = b""
    transparent: bool = False
    tiles: TilesFound | None = None
    changed: int = 0
    way: str = ""

    @property
    def size(self) -> Size:
        """The picture's size."""
        return Size(height=self.height, width=self.width)


def look_at(jobs: Sequence[Job], report: Callable[[int, int], None], workers: int = 0) -> Iterator[Look]:
    """A look at each, in order. `report` is told how many are done, and of how many. workers: threads; 0: by itself."""
    with ThreadPoolExecutor(workers or min(16, cores())) as pool:
        done = 0
        for start in range(0, len(jobs), _AT_ONCE):
            for look in pool.map(look_once, jobs[start : start + _AT_ONCE]):
                done += 1
                report(done, len(jobs))
                yield look


_kept: dict[str, Look] = {}
_keeping = Lock()


def forget() -> None:
    """Forget all looks: every picture is read again."""
    with _keeping:
        _kept.clear()


def known_sha256(path: str) -> str:
    """The hash of a file that was looked at and is as it was then; else empty. OSError where there is no file."""
    state = Path(path).stat()
    with _keeping:
        kept = _kept.get(path)
    return kept.sha256 if kept and (kept.changed, kept.bytes) == (state.st_mtime_ns, state.st_size) else ""


def look_once(job: Job) -> Look:
    """Kept for as long as the file stays as it is, so that Check and the start after it read each picture once."""
    try:
        job.path.encode()
        state = Path(job.path).stat()
    except UnicodeEncodeError:
        return Look(error="Its name is not UTF-8 text; rename it.")
    except OSError as error:
        return Look(error=f"It can't be read: {error.strerror}.")
    if not S_ISREG(state.st_mode):
        return Look(error="It is no file.")
    way = job.way
    with _keeping:
        kept = _kept.pop(job.path, None)
    if kept is None or (kept.changed, kept.bytes, kept.way) != (state.st_mtime_ns, state.st_size, way):
        kept = _read(job, state.st_mtime_ns, way)
    if not kept.error:
        with _keeping:
            _kept[job.path] = kept
            while len(_kept) > _KEPT:
                del _kept[next(iter(_kept))]
    return kept


def _read(job: Job, changed: int, way: str) -> Look:
    name = Path(job.path).name
    try:
        data = read_file(job.path)
        decoded = decode(data, name, job.background)
        tiles = kept_tiles(decoded.picture, job.crops) if job.crops else None
    except PictureError as error:
        return Look(error=str(error).removeprefix(f"{job.path} ").removeprefix(f"{name} "))
    picture = decoded.picture
    return Look(
        sha256=sha256_of(data),
        width=picture.width,
        height=picture.height,
        converted=decoded.converted,
        bytes=len(data),
        fingerprint=fingerprint(picture),
        colours=colours(picture),
        transparent=decoded.alpha is not None,
        tiles=tiles,
        changed=changed,
        way=way,
    )


def fingerprint(picture: Image) -> int:
    """64 bits that stay nearly the same when a picture is resized or compressed again.

    Each bit says whether one cell of the picture, brought to 9 x 8 greys, is darker than the cell to its right
    (the difference hash of N. Krawetz, "Kind of Like That", hackerfactor.com, 2013).
    """
    from PIL import Image

    small = picture.resize((9, 8), Image.Resampling.BILINEAR, reducing_gap=2.0).convert("L").tobytes()
    bits = 0
    for row in range(0, 72, 9):
        for cell in range(row, row + 8):
            bits = bits << 1 | (small[cell] < small[cell + 1])
    return bits


def colours(picture: Image) -> bytes:
    """The mean colours of the picture's quarters: red, green and blue of each, row by row, in 12 bytes."""
    from PIL import Image

    return picture.resize((2, 2), Image.Resampling.BOX, reducing_gap=2.0).tobytes()
