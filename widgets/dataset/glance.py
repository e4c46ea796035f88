"""A first look at a concept's folder: how many pictures there are, and the first few of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.dataset.folders import list_folder
from core.dataset.settings import Concept
from core.errors import PictureError
from widgets.thumbnails import data_url

SHOWN = 3
SIDE = 192
"""Pixels of a thumbnail's longer side."""


@dataclass(frozen=True)
class Glance:
    """pictures: how many there are. urls: of the first few, as data. problem: why there is nothing to see."""

    pictures: int = 0
    urls: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Place:
    """What a glance depends on. changed: when something was last put into the folder or taken from it (ns)."""

    folder: str
    subfolders: bool
    changed: int

    @classmethod
    def of(cls, folder: str, subfolders: bool) -> Place:
        """A folder as it is now."""
        try:
            changed = Path(folder).expanduser().stat().st_mtime_ns
        except (OSError, ValueError):  # not there, or no path at all: the glance says so
            changed = 0
        return cls(folder, subfolders, changed)


def glance(place: Place) -> Glance:
    """Look at a folder."""
    if not place.folder:
        return Glance(problem="No folder yet")
    try:
        pictures = list_folder(0, Concept(folder=place.folder, subfolders=place.subfolders)).pictures
    except PictureError as error:
        return Glance(problem=error.what)
    urls: list[str] = []
    for path in pictures[: 4 * SHOWN]:  # some may be broken: the report names them
        try:
            urls.append(data_url(Path(path), SIDE))
        except PictureError:
            continue
        if len(urls) == SHOWN:
            break
    return Glance(len(pictures), tuple(urls))
