"""What a run learns from, frozen when it starts: each picture with its hash, caption and bucket."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.contracts import Size
from core.errors import WorkspaceError

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
    where there is none. tile: None for the whole picture. weight: how much it counts beside its concept's others.
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
    weight: float = 1.0

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
    if data["weight"] == 1:
        del data["weight"]
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
