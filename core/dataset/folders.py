"""Lists a concept's folder by kinds of files: pictures, their masks, captions, and all that is passed over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from core.dataset.pictures import FOREIGN_SUFFIXES, SUFFIXES
from core.dataset.settings import Concept
from core.errors import PictureError

MASK_ENDING, CONDITIONING_ENDING = "-masklabel", "-condlabel"

_HIDDEN = ("__MACOSX", "Thumbs.db", "desktop.ini")


@dataclass
class Folder:
    """The files of one concept, in the order of their names; those of subfolders come after a folder's own.

    index, concept: which concept. path: its folder. companions: masks and conditioning pictures. foreign: pictures in
    formats that aren't read. captions: files that end as captions do. others: what is no use here. subfolders: not
    looked into. hidden: files and folders whose names hide them. again: links to folders that were listed already.
    """

    index: int
    concept: Concept
    path: Path
    pictures: list[Path] = field(default_factory=list)
    companions: list[Path] = field(default_factory=list)
    foreign: list[Path] = field(default_factory=list)
    captions: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    subfolders: list[Path] = field(default_factory=list)
    hidden: list[Path] = field(default_factory=list)
    again: list[Path] = field(default_factory=list)

    def name_of(self, path: Path) -> str:
        """A file's place inside the folder, with forward slashes."""
        return path.relative_to(self.path).as_posix()

    def names_of(self, paths: list[Path]) -> list[str]:
        """The places of several files inside the folder."""
        return [self.name_of(path) for path in paths]


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


def _walk(listed: Folder) -> Iterator[list[Path]]:
    """The files of each folder. Links to folders come last, so that a picture is listed at its real place."""
    real, links = [listed.path], []
    seen: set[tuple[int, int]] = set()
    while real or links:
        path = real.pop() if real else links.pop()
        try:
            state = path.stat()
            inside = sorted(path.iterdir())
        except OSError as error:
            raise PictureError(f"The folder {path} can't be read.", f"{error.strerror}.") from error
        if (state.st_dev, state.st_ino) in seen:
            listed.again.append(path)
            continue
        seen.add((state.st_dev, state.st_ino))
        files, folders = _split(inside, listed)
        yield files
        if not listed.concept.subfolders:
            listed.subfolders += folders
            continue
        real += [folder for folder in reversed(folders) if not folder.is_symlink()]
        links += [folder for folder in reversed(folders) if folder.is_symlink()]


def _split(inside: list[Path], listed: Folder) -> tuple[list[Path], list[Path]]:
    """Files and folders; what is hidden goes to the hidden ones."""
    files, folders = [], []
    for item in inside:
        if item.name.startswith(".") or item.name in _HIDDEN:
            listed.hidden.append(item)
        else:
            (folders if _is_folder(item) else files).append(item)
    return files, folders


def _is_folder(item: Path) -> bool:
    try:
        return item.is_dir()
    except OSError:
        return False  # a link to itself: reading it says so


def _kind_of(item: Path, folder: Folder) -> list[Path]:
    suffix = item.suffix.lower()
    if suffix in SUFFIXES:
        return folder.companions if item.stem.endswith((MASK_ENDING, CONDITIONING_ENDING)) else folder.pictures
    if suffix in FOREIGN_SUFFIXES:
        return folder.foreign
    return folder.captions if suffix == folder.concept.text.caption_extension.lower() else folder.others


def _where_else(folder: Folder) -> str:
    if folder.foreign:
        return f"Save {folder.foreign[0].name} and the others as PNG or JPEG; their format isn't read."
    filled = [sub.name for sub in folder.subfolders if any(item.suffix.lower() in SUFFIXES for item in sub.glob("*"))]
    if filled:
        return f"There are pictures in its subfolders ({', '.join(filled[:5])}): switch 'Subfolders too' on."
    return "Put pictures into it, or choose another folder."
