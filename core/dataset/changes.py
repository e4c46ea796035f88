"""Compares what a run began with with the files as they are now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from core.dataset.companions import conditioning_path, mask_path
from core.dataset.looks import known_sha256
from core.dataset.manifest import Entry, Manifest, Note, sha256_of
from core.errors import PictureError


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
        sha256 = known_sha256(file.path) or sha256_of(Path(file.path).read_bytes())
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"can't be read ({error.strerror})"
    return "" if sha256 == file.sha256 else "has changed"
