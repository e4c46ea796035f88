"""Reads the metadata files of kohya's tools, and finds which of their entries belongs to which picture."""

from __future__ import annotations

import json
import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from core.dataset.text_files import lines_of, read_text
from core.errors import PictureError

LARGEST_METADATA = 2**30
"""In bytes: a million pictures with long captions."""

_SHAPE = 'It has to look like {"cat.png": {"caption": "a cat", "tags": "sitting, outdoors"}}.'

Parts = tuple[str, ...]
"""A path taken apart; an absolute one begins with `/`, or on Windows with the drive's letter."""


# -- reading


def read_metadata(path: Path, separator: str, longest: int) -> dict[str, tuple[str, ...]]:
    """The captions of each entry; none where it has neither caption nor tags.

    The tags come after the caption with the separator; after each line of a caption with several, as in kohya's
    trainer. Other things in an entry, such as sizes, are passed over. longest: of a caption, in bytes.

    PictureError, naming the file, where it is no JSON or has another shape; it names the entry.
    """
    entries = _parsed(path, read_text(path, LARGEST_METADATA))
    if not isinstance(entries, dict):
        raise PictureError(f"The metadata file {path} is a {_name_of(entries)}, not a table of pictures.", do=_SHAPE)
    captions = {}
    for key, entry in entries.items():
        try:
            captions[key] = _captions(entry, separator, longest)
        except ValueError as error:
            where = f"In the metadata file {path}, the entry {key!r}"
            raise PictureError(f"{where} can't be used: {error}.", do=_SHAPE) from error
    return captions


def _parsed(path: Path, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise PictureError(
            f"The metadata file {path} is no JSON.",
            f"Line {error.lineno}, column {error.colno}: {error.msg}.",
            "Write it again with the program that made it, or choose another file.",
        ) from error
    except RecursionError as error:
        raise PictureError(f"The metadata file {path} can't be read.", "It is nested too deeply.", _SHAPE) from error
    except ValueError as error:
        raise PictureError(f"The metadata file {path} can't be read.", f"{error}.") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A table. ValueError for a key that is there twice: JSON would take the last in silence."""
    table = dict(pairs)
    if len(table) != len(pairs):
        key, count = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"{key!r} is there {count} times in one table")
    return table


def _captions(entry: Any, separator: str, longest: int) -> tuple[str, ...]:
    if not isinstance(entry, dict):
        raise ValueError(f"it is a {_name_of(entry)}")
    lines = _lines(entry, "caption")
    between = separator.rstrip() + " "
    tags = between.join(_lines(entry, "tags"))
    captions = tuple(f"{line}{between}{tags}" if tags else line for line in lines) or ((tags,) if tags else ())
    for caption in captions:
        if len(_utf8(caption)) > longest:
            raise ValueError(f"its caption has {len(caption):,} letters")
    return captions


def _lines(entry: dict[str, Any], name: str) -> list[str]:
    """The lines of a text, or the entries of a list of texts."""
    value = entry.get(name)
    items = value if isinstance(value, list) else [] if value is None else [value]
    for item in items:
        if not isinstance(item, str):
            raise ValueError(f"its {name!r} is a {_name_of(item)}, not text")
    return [line for item in items for line in lines_of(item)]


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:  # half a pair of surrogates, written as \ud83d
        raise ValueError(f"letter {error.start + 1} of its caption is no letter of Unicode") from error


def _name_of(value: Any) -> str:
    names = {dict: "table", list: "list", str: "text", bool: "truth value", type(None): "null"}
    return names.get(type(value), "number")


# -- matching


@dataclass
class Matched:
    """Which entry belongs to which picture.

    keys: for each picture its entry's key, or None. ambiguous: keys that fit several pictures, with these. moved: the
    folder that the keys name in place of the pictures' own; empty where they name that. rivals: where they name several
    others and it can't be told which is meant, these. unused: keys in these folders, or in none, that fit no picture.
    """

    keys: list[str | None]
    ambiguous: dict[str, list[str]] = field(default_factory=dict)
    moved: str = ""
    rivals: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)


class _Fit(NamedTuple):
    """A key that may be a picture's; the least one is the best.

    by_name: 0 where the key names the picture's place in the folder, 1 where only its name is the same.
    by_stem: 0 where it names it with its ending, 1 without. root: what the key has in front of that place.
    """

    by_name: int
    by_stem: int
    root: Parts
    key: str


def match_metadata(keys: Sequence[str], folder: Path, pictures: Sequence[str]) -> Matched:
    """Find each picture's entry.

    A key is an absolute path, one relative to the concept's folder or to a folder that this lies in, or a name; each
    with or without the picture's ending. Where no key is any of these, the set may have been moved: then the folder is
    taken that most resembles the concept's, and of several the one with the most of the pictures.
    """
    base = _parts(str(folder.absolute()))
    places = [_place(picture, base) for picture in pictures]
    index = _Index(keys)
    fits = [list(index.fits(place)) for place in places]
    own = {base, _parts(str(folder.resolve()))}
    found = Matched([])
    accepted = {fit.root for each in fits for fit in each if _is_own(fit.root, own)}
    if not accepted and any(fits):
        roots = _moved(fits, base)
        if len(roots) > 1:
            found.rivals = [_path(root) for root in roots]
        else:
            accepted, found.moved = set(roots), _path(roots[0])
    best = [min((fit for fit in each if fit.root in accepted), default=None) for each in fits]
    best = _without_rivals(best)
    found.keys = [fit.key if fit else None for fit in best]
    found.ambiguous = _shared(found.keys, pictures)
    folders = {place[:-1] for place in places}
    found.unused = [] if found.rivals else list(index.unused(set(found.keys), folders, accepted | own))
    return found


class _Index:
    """The keys by the last part of their paths."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys: defaultdict[str, list[tuple[str, Parts]]] = defaultdict(list)
        for key in keys:
            parts = _parts(key)
            self._keys[parts[-1] if parts else ""].append((key, parts))

    def fits(self, place: Parts) -> Iterator[_Fit]:
        """The keys that may be meant for a picture at this place in the folder."""
        stem = Path(place[-1]).stem
        for by_stem, last in enumerate((place[-1], stem)):
            wanted = (*place[:-1], last)
            for key, parts in self._keys.get(last, ()):
                if parts[-len(wanted) :] == wanted:
                    yield _Fit(0, by_stem, parts[: -len(wanted)], key)
                elif parts == (last,):
                    yield _Fit(1, by_stem, (), key)

    def unused(self, used: set[str | None], folders: set[Parts], roots: set[Parts]) -> Iterator[str]:
        """Keys that aren't used though they lie in one of the pictures' folders, or in none."""
        inside = {(*root, *folder) for root in {*roots, ()} for folder in {*folders, ()}}
        for each in self._keys.values():
            for key, parts in each:
                if key not in used and parts[:-1] in inside:
                    yield key


def _is_own(root: Parts, own: set[Parts]) -> bool:
    """Whether it is the concept's folder, or the end of that folder's path."""
    return not root or any(base == root or base[-len(root) :] == root for base in own)


def _moved(fits: list[list[_Fit]], base: Parts) -> list[Parts]:
    """The folders that may be the concept's at another place; several only where they are equally likely."""
    votes = Counter(root for each in fits for root in {fit.root for fit in each})
    scores = {root: (_common_end(root, base), count) for root, count in votes.items()}
    best = max(scores.values())
    return sorted(root for root, score in scores.items() if score == best)


def _common_end(first: Parts, second: Parts) -> int:
    pairs = enumerate(zip(reversed(first), reversed(second), strict=False))
    return next((count for count, (a, b) in pairs if a != b), min(len(first), len(second)))


def _without_rivals(best: list[_Fit | None]) -> list[_Fit | None]:
    """Of a key that several pictures would take, those that it fits best keep it."""
    least: dict[str, tuple[int, int]] = {}
    for fit in filter(None, best):
        least[fit.key] = min(least.get(fit.key, (1, 1)), fit[:2])
    return [fit if fit and fit[:2] == least[fit.key] else None for fit in best]


def _shared(keys: Sequence[str | None], pictures: Sequence[str]) -> dict[str, list[str]]:
    users: defaultdict[str, list[str]] = defaultdict(list)
    for key, picture in zip(keys, pictures, strict=True):
        if key is not None:
            users[key].append(picture)
    return {key: names for key, names in users.items() if len(names) > 1}


def _place(picture: str, base: Parts) -> Parts:
    """Where a picture lies inside the folder; its name alone where it lies outside."""
    parts = _parts(str(Path(picture).absolute()))
    return parts[len(base) :] if parts[: len(base)] == base else parts[-1:]


def _parts(path: str) -> Parts:
    """A path of this or another machine, taken apart. A letter and its accent become one letter."""
    path = unicodedata.normalize("NFC", path)
    if re.match(r"[A-Za-z]:[\\/]", path) or "/" not in path:
        path = path.replace("\\", "/")
    parts = [part for part in posixpath.normpath(path).split("/") if part not in ("", ".", "..")]
    return ("/", *parts) if path.startswith("/") else tuple(parts)


def _path(parts: Parts) -> str:
    return "/" + "/".join(parts[1:]) if parts[:1] == ("/",) else "/".join(parts)
