"""Looks through the folders of a run and says what would be learned from, what is left out, and why."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from core.contracts import Size
from core.dataset.buckets import bucket_for
from core.dataset.captions import read_caption
from core.dataset.manifest import Entry, Note, sha256_of
from core.dataset.pictures import FOREIGN_SUFFIXES, SUFFIXES, decode, read_file, resized_size
from core.dataset.settings import Buckets, Concept
from core.errors import PictureError

SHORTEST_SIDE = 16
"""Pictures with a side under this many pixels teach nothing and are left out."""

_NAMED = 20  # of one kind of problem, so many files are named


@dataclass
class Survey:
    """What was found.

    entries: the pictures to learn from, in the order of concepts and names. left_out, converted: single pictures.
    warnings: what is worth a look and stops nothing. concepts: those of the config, which entries point into.
    """

    concepts: Sequence[Concept]
    entries: list[Entry] = field(default_factory=list)
    left_out: list[Note] = field(default_factory=list)
    converted: list[Note] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def bucket_counts(self) -> dict[Size, int]:
        """Pictures in each bucket, counted with their repeats."""
        counts: Counter[Size] = Counter()
        for entry in self.entries:
            counts[entry.bucket] += self.concepts[entry.concept].repeats
        return dict(sorted(counts.items(), key=lambda item: (item[0].width, item[0].height)))


def survey(
    concepts: Sequence[Concept], buckets: Buckets, report: Callable[[int, int], None] = lambda done, total: None
) -> Survey:
    """Read every picture and caption of the enabled concepts.

    A picture that can't be used is left out, with its reason. PictureError, with the problems of all folders at once:
    a folder that is missing, unreadable or without a usable picture; captions that are not UTF-8; two pictures that
    would share one caption file. `report` is told how many pictures are read, and of how many.
    """
    found, problems = Survey(concepts), []
    folders: list[_Folder] = []
    for index, concept in enumerate(concepts):
        if concept.enabled:
            try:
                folders.append(_list_folder(index, concept))
            except PictureError as error:
                problems.append(str(error))
    pictures = [path for folder in folders for path in folder.pictures]
    looks = dict(zip(pictures, _look_at(pictures, report), strict=True))
    for folder in folders:
        problems.extend(_take(folder, looks, buckets, found))
    if problems:
        raise PictureError(_together(problems))
    found.warnings.extend(_general_warnings(found.entries))
    return found


def proposed_repeats(folder: Path | str) -> int | None:
    """The repeats that a folder named in kohya's way proposes: 10 for `10_cat`. Nothing uses it unasked."""
    match = re.match(r"(\d+)_", Path(folder).name)
    repeats = int(match[1]) if match else 0
    return repeats if 1 <= repeats <= 10_000 else None


@dataclass
class _Folder:
    index: int
    concept: Concept
    path: Path
    pictures: list[Path]
    captions: list[Path]
    foreign: list[Path]
    others: list[Path]
    folders: list[Path]


def _list_folder(index: int, concept: Concept) -> _Folder:
    """The folder's files by kind. PictureError where it can't be read or has no pictures."""
    path = Path(concept.folder).expanduser()
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "doesn't exist"
        raise PictureError(f"The folder {path} {what}.", do="Choose the folder with the pictures.")
    try:
        inside = sorted(item for item in path.iterdir() if not _is_hidden(item))
    except OSError as error:
        raise PictureError(f"The folder {path} can't be read.", f"{error.strerror}.") from error
    listed = _Folder(index, concept, path, [], [], [], [], [item for item in inside if item.is_dir()])
    for item in inside:
        if item not in listed.folders:
            _kind_of(item, listed).append(item)
    if not listed.pictures:
        raise PictureError(f"There is no picture in the folder {path}.", do=_where_else(listed))
    return listed


def _is_hidden(item: Path) -> bool:
    return item.name.startswith(".") or item.name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _kind_of(item: Path, folder: _Folder) -> list[Path]:
    suffix = item.suffix.lower()
    if suffix in SUFFIXES:
        return folder.pictures
    if suffix in FOREIGN_SUFFIXES:
        return folder.foreign
    return folder.captions if suffix == folder.concept.text.caption_extension.lower() else folder.others


def _where_else(folder: _Folder) -> str:
    if folder.foreign:
        return f"Save {folder.foreign[0].name} and the others as PNG or JPEG; their format isn't read."
    filled = [sub.name for sub in folder.folders if any(item.suffix.lower() in SUFFIXES for item in sub.glob("*"))]
    if filled:
        return f"There are pictures in its subfolders ({', '.join(filled[:5])}): choose one, or make each a concept."
    return "Put pictures into it, or choose another folder."


@dataclass(frozen=True)
class _Look:
    """One picture, fully decoded once. error: why it can't be used."""

    sha256: str = ""
    width: int = 0
    height: int = 0
    converted: str = ""
    error: str = ""

    @property
    def size(self) -> Size:
        return Size(height=self.height, width=self.width)


def _look_at(pictures: list[Path], report: Callable[[int, int], None]) -> Iterator[_Look]:
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for done, look in enumerate(pool.map(_look, pictures), start=1):
            report(done, len(pictures))
            yield look


def _look(path: Path) -> _Look:
    try:
        state = path.stat()
    except OSError as error:
        return _Look(error=f"It can't be read: {error.strerror}.")
    return _look_once(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=100_000)
def _look_once(path: Path, changed: int, size: int) -> _Look:
    """Kept for as long as the file stays as it is, so that Check and the start after it read each picture once."""
    try:
        data = read_file(path)
        decoded = decode(data, path.name)
    except PictureError as error:
        return _Look(error=str(error).removeprefix(f"{path.name} "))
    return _Look(sha256_of(data), decoded.picture.width, decoded.picture.height, decoded.converted)


def _take(folder: _Folder, looks: dict[Path, _Look], buckets: Buckets, found: Survey) -> Iterator[str]:
    """Add a folder's pictures to what was found; yields what is wrong with it."""
    yield from _shared_captions(folder)
    captions, unreadable = _read_captions(folder)
    yield from unreadable
    before = len(found.left_out)
    usable = 0
    for path in folder.pictures:
        look = looks[path]
        reason, bucket = _bucket_or_reason(look, buckets)
        if bucket is None:
            found.left_out.append(Note(str(path), reason))
            continue
        usable += 1
        if look.converted:
            found.converted.append(Note(str(path), look.converted))
        name = f"{folder.path.name}/{path.name}"
        caption = captions.get(path) or ""
        size = look.size
        found.entries.append(
            Entry(str(path), look.sha256, size.width, size.height, caption, folder.index, bucket, name)
        )
    if not usable:
        reasons = _listed([f"{Path(note.path).name}: {note.reason}" for note in found.left_out[before:]])
        yield f"No picture in the folder {folder.path} can be used: {reasons}"
    found.left_out.extend(Note(str(path), "This format isn't read; save it as PNG or JPEG.") for path in folder.foreign)
    found.warnings.extend(_folder_warnings(folder, captions))


def _bucket_or_reason(look: _Look, buckets: Buckets) -> tuple[str, Size | None]:
    if look.error:
        return look.error, None
    if min(look.size.width, look.size.height) < SHORTEST_SIDE:
        return f"It is too small: {look.size}, and each side needs at least {SHORTEST_SIDE} pixels.", None
    try:
        return "", bucket_for(look.size, buckets)
    except PictureError as error:
        return str(error), None


def _shared_captions(folder: _Folder) -> Iterator[str]:
    stems: defaultdict[str, list[str]] = defaultdict(list)
    for path in folder.pictures:
        stems[path.stem].append(path.name)
    shared = [" and ".join(names) for names in stems.values() if len(names) > 1]
    if shared:
        extension = folder.concept.text.caption_extension
        yield (
            f"In {folder.path}, pictures of the same name would share one {extension} caption: {_listed(shared)}. "
            "Rename one of each, with its caption."
        )


def _read_captions(folder: _Folder) -> tuple[dict[Path, str], list[str]]:
    """The captions that are there, and what is wrong with the others."""
    captions, problems = {}, []
    for path in folder.pictures:
        try:
            caption = read_caption(path.with_suffix(folder.concept.text.caption_extension))
        except PictureError as error:
            problems.append(str(error))
            continue
        if caption is not None:
            captions[path] = caption
    return captions, problems


def _folder_warnings(folder: _Folder, captions: dict[Path, str]) -> Iterator[str]:
    concept, where = folder.concept, f"In {folder.path}:"
    without = [path.name for path in folder.pictures if not captions.get(path)]
    if without:
        instead = f"the trigger word {concept.trigger_word!r} alone" if concept.trigger_word else "an empty caption"
        ending = concept.text.caption_extension
        yield (
            f"{where} {len(without)} of {len(folder.pictures)} pictures have no caption ({ending} file with text) "
            f"and are shown with {instead}: {_listed(without)}."
        )
    stems = {path.stem for path in folder.pictures + folder.foreign}
    orphans = [path.name for path in folder.captions if path.stem not in stems]
    if orphans:
        yield f"{where} {len(orphans)} captions have no picture: {_listed(orphans)}."
    if folder.others:
        names = _listed([path.name for path in folder.others])
        yield f"{where} {len(folder.others)} files are neither pictures nor captions and are passed over: {names}."
    if folder.folders:
        names = _listed([path.name for path in folder.folders])
        yield f"{where} subfolders are not looked into: {names}."


def _general_warnings(entries: list[Entry]) -> Iterator[str]:
    same: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    for entry in entries:
        same[entry.concept, entry.sha256].append(entry.name)
    copies = [" = ".join(names) for names in same.values() if len(names) > 1]
    if copies:
        yield f"The same picture is there more than once: {_listed(copies)}."
    enlarged = [entry.name for entry in entries if resized_size(entry.size, entry.bucket).width > 2 * entry.width]
    if enlarged:
        yield f"{len(enlarged)} pictures are enlarged to more than twice their size: {_listed(enlarged)}."
    cropped = [entry.name for entry in entries if _share_kept(entry) < 2 / 3]
    if cropped:
        yield f"{len(cropped)} pictures lose more than a third of their area to the crop: {_listed(cropped)}."


def _share_kept(entry: Entry) -> float:
    return entry.bucket.area / resized_size(entry.size, entry.bucket).area


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _together(problems: list[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return "The pictures can't be used as they are:" + "".join(f"\n  {problem}" for problem in problems)
