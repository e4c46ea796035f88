"""Lists a concept's folder by kinds of files: pictures, their masks, captions, and all that is passed over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from core.dataset.companions import is_companion
from core.dataset.formats import foreign_suffixes, suffixes
from core.dataset.settings import Concept
from core.dataset.text_files import printable
from core.errors import PictureError

LOSS_WEIGHTS = "loss_weights.toml"
"""The file in a concept's folder that says how much single pictures count."""

_HIDDEN = ("__MACOSX", "Thumbs.db", "desktop.ini")


@dataclass
class Folder:
    """The files of one concept, in the order of their names; those of subfolders come after a folder's own.

    Files are paths as text, which take a fifth of the memory of a `Path`. index, concept: which concept. path: its
    folder. companions: masks and conditioning pictures. foreign: pictures in formats that aren't read. captions: files
    that end as captions do. loss_weights: the file of that name in the folder itself, if there is one. others: what is
    no use here. subfolders: not looked into. hidden: files and folders whose names hide them. again: links to folders
    that were listed already.
    """

    index: int
    concept: Concept
    path: Path
    pictures: list[str] = field(default_factory=list)
    companions: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    loss_weights: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    subfolders: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)

    def name_of(self, path: str) -> str:
        """A file's place inside the folder, with forward slashes."""
        return printable(path.removeprefix(str(self.path).rstrip(os.sep) + os.sep).replace(os.sep, "/"))

    def names_of(self, paths: list[str]) -> list[str]:
        """The places of several files inside the folder."""
        return [self.name_of(path) for path in paths]


@dataclass(frozen=True)
class Passed:
    """What lies in a concept's folder besides the pictures, by the place inside the folder.

    index: of the concept. pictures: how many there are. masks, conditionings: how many pictures have one. unpaired:
    masks and conditioning pictures without picture. foreign: pictures in formats that aren't read. orphans: captions
    without picture. unread: caption files, where captions come from elsewhere. others, subfolders, hidden, again: as in
    `Folder`.
    """

    index: int
    path: str
    pictures: int
    masks: int
    conditionings: int
    unpaired: list[str]
    foreign: list[str]
    orphans: list[str]
    unread: list[str]
    others: list[str]
    subfolders: list[str]
    hidden: list[str]
    again: list[str]


def list_folder(index: int, concept: Concept) -> Folder:
    """A concept's files by kind; each real folder once, however many links lead to it.

    PictureError where the folder or one inside it can't be read, or where there is no picture.
    """
    path = Path(concept.folder).expanduser()
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "doesn't exist"
        raise PictureError(f"The folder {path} {what}.", do="Choose the folder with the pictures.")
    listed = Folder(index, concept, path)
    for inside in _walk(listed):
        for item in inside:
            _kind_of(item, listed).append(item)
    if not listed.pictures:
        raise PictureError(f"There is no picture in the folder {path}.", do=_where_else(listed))
    return listed


def _walk(listed: Folder) -> Iterator[list[str]]:
    """The files of each folder. Links to folders come last, so that a picture is listed at its real place."""
    real, links = [str(listed.path)], []
    seen: set[tuple[int, int]] = set()
    while real or links:
        path = real.pop() if real else links.pop()
        try:
            state = Path(path).stat()
            if (state.st_dev, state.st_ino) in seen:
                listed.again.append(path)
                continue
            with os.scandir(path) as opened:
                inside = sorted(opened, key=lambda item: item.name)
        except OSError as error:
            raise PictureError(f"The folder {path} can't be read.", f"{error.strerror}.") from error
        seen.add((state.st_dev, state.st_ino))
        files, folders = _split(inside, listed)
        yield files
        if not listed.concept.subfolders:
            listed.subfolders += [item.path for item in folders]
            continue
        real += [item.path for item in reversed(folders) if not item.is_symlink()]
        links += [item.path for item in reversed(folders) if item.is_symlink()]


def _split(inside: list[os.DirEntry[str]], listed: Folder) -> tuple[list[str], list[os.DirEntry[str]]]:
    """Files and folders; what is hidden goes to the hidden ones."""
    files, folders = [], []
    for item in inside:
        if item.name.startswith(".") or item.name in _HIDDEN:
            listed.hidden.append(item.path)
        elif _is_folder(item):
            folders.append(item)
        else:
            files.append(item.path)
    return files, folders


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:
        return False  # a link to itself: reading it says so


def _kind_of(item: str, folder: Folder) -> list[str]:
    _, dot, ending = item.rpartition(".")
    suffix = dot + ending.lower()
    if suffix in suffixes():
        return folder.companions if is_companion(item) else folder.pictures
    if suffix in foreign_suffixes():
        return folder.foreign
    if item == str(folder.path / LOSS_WEIGHTS):
        return folder.loss_weights
    return folder.captions if suffix == folder.concept.text.caption_extension.lower() else folder.others


def why_foreign(path: str) -> str:
    """Why a picture of a known format isn't read here, and what to do."""
    package = foreign_suffixes()[Path(path).suffix.lower()]
    install = f"Install {package}, or save" if package else "Save"
    return f"Its format isn't read here. {install} it as PNG or JPEG."


def _where_else(folder: Folder) -> str:
    if folder.foreign:
        first = folder.foreign[0]
        return f"{folder.name_of(first)} and others like it are there. {why_foreign(first)}"
    filled = [
        folder.name_of(inside)
        for inside in folder.subfolders
        if any(item.suffix.lower() in suffixes() for item in Path(inside).glob("*"))
    ]
    if filled:
        return f"There are pictures in its subfolders ({', '.join(filled[:5])}): switch 'Subfolders too' on."
    return "Put pictures into it, or choose another folder."
