"""What a run learns from, frozen when it starts: each picture with its hash, caption and bucket."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from core.contracts import Size
from core.dataset.companions import conditioning_path, mask_path
from core.errors import PictureError, WorkspaceError

VERSION = 2


@dataclass(frozen=True)
class Note:
    """Something to know about one file."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Tile:
    """A square of a picture. scaled: the size that the whole picture is brought to first. top, left: in that size."""

    scaled: Size
    top: int
    left: int
    side: int

    def __str__(self) -> str:
        return f"tile {self.left},{self.top} of {self.scaled}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture, or a tile of one.

    sha256: of the file. width, height: of the whole picture in pixels, after the orientation in its EXIF data.
    captions: as in their file, without the trigger word; none where there is no file; several are shown in turn or
    drawn. concept: index into the config's concepts. buckets: one for each resolution that it is shown at.
    name: folder and file, for reports. mask, conditioning: sha256 of its mask and of its conditioning picture, empty
    where there is none. tile: None for the whole picture.
    """

    path: str
    sha256: str
    width: int
    height: int
    captions: tuple[str, ...]
    concept: int
    buckets: tuple[Size, ...]
    name: str
    mask: str = ""
    conditioning: str = ""
    tile: Tile | None = None

    @property
    def size(self) -> Size:
        """The whole picture's own size in pixels."""
        return Size(height=self.height, width=self.width)

    @property
    def key(self) -> int:
        """A number of its content: what is drawn for it stays the same when other pictures come or go."""
        sha256 = sha256_of(f"{self.sha256} {self.tile}".encode()) if self.tile else self.sha256
        return int(sha256[:15], 16)


@dataclass(frozen=True)
class Manifest:
    """All pictures of a run, in the order that numbers its samples.

    lines: of each concept whose captions come from one prompt file, these captions.
    """

    entries: tuple[Entry, ...]
    lines: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def to_json(self) -> str:
        """The text of the file that lies in the workspace."""
        entries = [_plain(entry) for entry in self.entries]
        lines = {str(concept): list(lines) for concept, lines in self.lines.items()}
        data = {"version": VERSION, "lines": lines, "entries": entries}
        return json.dumps(data, indent=1)  # in ASCII: file names needn't be UTF-8

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read what `to_json` wrote. WorkspaceError for anything else."""
        try:
            data = json.loads(text)
            if data["version"] != VERSION:
                raise ValueError(f"it has version {data['version']}")
            lines = {int(concept): tuple(lines) for concept, lines in data["lines"].items()}
            return cls(tuple(_entry(item) for item in data["entries"]), lines)
        except (ValueError, KeyError, TypeError) as error:
            raise WorkspaceError(
                "The workspace's list of pictures can't be read.", f"{error}.", "Start a new workspace."
            ) from error


def _plain(entry: Entry) -> dict[str, Any]:
    """What differs from the defaults; sizes as width and height."""
    data: dict[str, Any] = {name: getattr(entry, name) for name in Entry.__dataclass_fields__}
    data["captions"] = list(entry.captions)
    data["buckets"] = [[size.width, size.height] for size in entry.buckets]
    tile = data.pop("tile")
    if tile:
        data["tile"] = [tile.scaled.width, tile.scaled.height, tile.top, tile.left, tile.side]
    return {name: value for name, value in data.items() if value != ""}


def _entry(data: dict[str, Any]) -> Entry:
    tile = None
    if "tile" in data:
        width, height, top, left, side = data["tile"]
        tile = Tile(Size(height=height, width=width), top, left, side)
    buckets = tuple(Size(height=height, width=width) for width, height in data["buckets"])
    return Entry(**{**data, "captions": tuple(data["captions"]), "buckets": buckets, "tile": tile})


def sha256_of(data: bytes) -> str:
    """The hash that tells whether a picture is still the same."""
    return hashlib.sha256(data).hexdigest()


def verify(manifest: Manifest, is_cached: Callable[[Entry], bool] = lambda entry: False) -> list[Note]:
    """Compare a run that goes on with the pictures as they are now. PictureError, naming all that changed or went.

    A picture whose encodings are all cached (`is_cached`) isn't needed any more, and its caption is in the manifest:
    the run then goes on with what it began with, and a note says so.
    """
    changed = changes(manifest.entries)
    needed = [note for entry, note in changed if not is_cached(entry)]
    if needed:
        raise PictureError(
            "Pictures of this run are no longer what they were when it started:\n"
            + "\n".join(f"  {note}" for note in needed)
            + "\n",
            do="Put them back to go on, or start a new workspace with the pictures as they are.",
        )
    return [Note(note.path, f"{note.reason}; its encoding in the cache is used") for _, note in changed]


def changes(entries: Iterable[Entry]) -> list[tuple[Entry, Note]]:
    """The entries of which a file is missing or has another content, each with a note that says which.

    A file is read once, however many tiles are cut from it.
    """
    listed = list(entries)
    files = dict.fromkeys(file for entry in listed for file in files_of(entry))
    with ThreadPoolExecutor(4) as pool:
        reasons = dict(zip(files, pool.map(_change, files), strict=True))
    return [(entry, Note(file.path, reasons[file])) for entry in listed for file in files_of(entry) if reasons[file]]


class File(NamedTuple):
    """A file as it was when the run started."""

    path: str
    sha256: str


def files_of(entry: Entry) -> Iterator[File]:
    """What an entry is made from: the picture, its mask, its conditioning picture."""
    yield File(entry.path, entry.sha256)
    if entry.mask:
        yield File(str(mask_path(entry.path)), entry.mask)
    if entry.conditioning:
        yield File(str(conditioning_path(entry.path)), entry.conditioning)


def _change(file: File) -> str:
    try:
        data = Path(file.path).read_bytes()
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"can't be read ({error.strerror})"
    return "" if sha256_of(data) == file.sha256 else "has changed"
