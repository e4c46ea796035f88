"""What a run learns from, frozen when it starts: each picture with its hash, caption and bucket."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.contracts import Size
from core.errors import PictureError, WorkspaceError

VERSION = 1


@dataclass(frozen=True)
class Note:
    """Something to know about one file."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Entry:
    """One picture.

    sha256: of the file. width, height: in pixels, after the orientation in its EXIF data.
    caption: as in its file, without the trigger word. concept: index into the config's concepts.
    name: folder and file, for reports.
    """

    path: str
    sha256: str
    width: int
    height: int
    caption: str
    concept: int
    bucket: Size
    name: str

    @property
    def size(self) -> Size:
        """Its own size in pixels."""
        return Size(height=self.height, width=self.width)


@dataclass(frozen=True)
class Manifest:
    """All pictures of a run, in the order that numbers its samples."""

    entries: tuple[Entry, ...]

    def to_json(self) -> str:
        """The text of the file that lies in the workspace."""
        data = {"version": VERSION, "entries": [asdict(entry) for entry in self.entries]}
        return json.dumps(data, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read what `to_json` wrote. WorkspaceError for anything else."""
        try:
            data = json.loads(text)
            if data["version"] != VERSION:
                raise ValueError(f"it has version {data['version']}")
            return cls(tuple(_entry(item) for item in data["entries"]))
        except (ValueError, KeyError, TypeError) as error:
            raise WorkspaceError(
                "The workspace's list of pictures can't be read.", f"{error}.", "Start a new workspace."
            ) from error


def _entry(data: dict[str, Any]) -> Entry:
    return Entry(**{**data, "bucket": Size(**data["bucket"])})


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
    """The pictures that are missing or have another content, each with a note that says which."""
    listed = list(entries)
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(_change, listed)
        return [(entry, Note(entry.path, reason)) for entry, reason in zip(listed, found, strict=True) if reason]


def _change(entry: Entry) -> str:
    try:
        data = Path(entry.path).read_bytes()
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"can't be read ({error.strerror})"
    return "" if sha256_of(data) == entry.sha256 else "has changed"
