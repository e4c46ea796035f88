"""Finds the captions of a concept's pictures: in files beside them, in their names, in a prompt or metadata file."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from core.dataset.caption_metadata import match_metadata, read_metadata
from core.dataset.found import listed
from core.dataset.text_files import lines_of, printable, read_text
from core.errors import PictureError

if TYPE_CHECKING:
    from core.dataset.settings import Concept, ConceptText

AnyPath = TypeVar("AnyPath", str, Path)

LARGEST_CAPTION = 2**16
"""In bytes. No text encoder reads even a tenth of it."""

LARGEST_PROMPT_FILE = 2**26
"""In bytes: a million captions of usual length."""

_OTHER_ENDINGS = (".txt", ".caption")  # tagging programs use one of them

_COUNTER_IN_FRONT = re.compile(r"^(?:\d+_+|0\d*[\s-]+)(?=.)")
_COUNTER_AT_THE_END = re.compile(r"(?:\s*\(\d+\)|_+\d+|[\s-]+0\d*)$")


@dataclass
class CaptionsFound(Generic[AnyPath]):
    """The captions of some pictures.

    captions: of each picture that has some; an empty file gives one that is empty. problems: what stops a run, a
    sentence or more for each, with the file's name. warnings: what is worth a look. orphans: caption files in the
    pictures' folders that belong to none of these pictures.
    """

    captions: dict[AnyPath, tuple[str, ...]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    orphans: list[Path] = field(default_factory=list)


def read_captions(concept: Concept, pictures: Sequence[AnyPath]) -> CaptionsFound[AnyPath]:
    """The captions of a concept's pictures, from where its settings say. Nothing is raised for what can't be read.

    Where they come from a prompt file, no picture has a caption of its own (see `read_prompt_lines`).
    """
    found: CaptionsFound[AnyPath] = CaptionsFound()
    source = concept.text.prompt_source
    if source == "caption_file":
        _read_files(concept, pictures, found)
    elif source == "file_name":
        _read_names(pictures, found)
    elif source == "metadata_file":
        _read_metadata(concept, pictures, found)
    return found


def read_prompt_lines(concept: Concept) -> tuple[str, ...]:
    """The captions in the concept's prompt file, one for each line that isn't empty; none for other sources.

    PictureError, naming the file, where it can't be read or has no line, or where a line is too long for a caption.
    """
    path = concept.text.lines_path
    if path is None:
        return ()
    lines = lines_of(read_text(path, LARGEST_PROMPT_FILE))
    if not lines:
        raise PictureError(f"The prompt file {path} is empty.", do="Write one caption into each line of it.")
    for number, line in enumerate(lines, start=1):
        if len(line.encode()) > LARGEST_CAPTION:
            raise PictureError(
                f"Caption {number} in the prompt file {path} is too long.",
                f"It has {len(line):,} letters.",
                "Write one caption into each line.",
            )
    return tuple(lines)


def captions_of(text: ConceptText, lines: Sequence[str]) -> tuple[str, ...]:
    """What the lines of a caption file are, by the setting: one caption, several, or only the first counts.

    Where there is no line, it is the empty caption.
    """
    if text.caption_lines == "join" or not lines:
        return (" ".join(lines),)
    return (lines[0],) if text.caption_lines == "first" else tuple(lines)


def caption_in_name(name: str) -> str:
    """The caption in a picture's file name, given without its ending; empty where it is only a number.

    Underscores are spaces. What counts pictures is no caption: a number and an underscore in front (`10_cat`), one
    after an underscore or in brackets at the end (`cat_001`, `cat (3)`), and after a space or hyphen one that begins
    with a zero (`cat-007`, `cat 01`). Other numbers stay: `highway 66`, `F-16`, `2 cats`, `1girl`.
    """
    name = name.strip()
    while (shorter := _COUNTER_AT_THE_END.sub("", name)) != name:
        name = shorter
    name = _COUNTER_IN_FRONT.sub("", name)
    caption = " ".join(name.replace("_", " ").split())
    return "" if re.fullmatch(r"\d*", caption) else caption


# -- a file beside each picture


def _read_files(concept: Concept, pictures: Sequence[AnyPath], found: CaptionsFound[AnyPath]) -> None:
    text = concept.text
    by_folder: defaultdict[Path, list[AnyPath]] = defaultdict(list)
    for picture in pictures:
        by_folder[Path(picture).parent].append(picture)
    elsewhere: defaultdict[str, int] = defaultdict(int)
    for folder, inside in by_folder.items():
        try:
            names = sorted(path.name for path in folder.iterdir())
        except OSError as error:
            found.problems.append(f"The folder {printable(folder)} can't be read. {error.strerror}.")
            continue
        listed = _by_stem(names, text.caption_extension)
        _read_folder(text, folder, inside, {stem: files[0] for stem, files in listed.items()}, found)
        stems = {Path(picture).stem for picture in inside}
        for stem, files in listed.items():
            found.orphans.extend(folder / name for name in files[stem in stems :])
        _count_other_endings(text, names, stems - listed.keys(), elsewhere)
    found.warnings.extend(
        f"In {concept.folder}: pictures without a {text.caption_extension} file, but with one that ends in {ending}: "
        f"{count}. If these are the captions, set the ending of caption files to {ending}."
        for ending, count in elsewhere.items()
    )


def _read_folder(
    text: ConceptText, folder: Path, pictures: Iterable[AnyPath], files: dict[str, str], found: CaptionsFound[AnyPath]
) -> None:
    """Take what the caption files of one folder hold."""
    for picture in pictures:
        name = files.get(Path(picture).stem)
        if name is None:
            continue
        try:
            lines = lines_of(read_text(folder / name, LARGEST_CAPTION))
        except PictureError as error:
            found.problems.append(str(error))
            continue
        found.captions[picture] = captions_of(text, lines)


def _by_stem(names: Iterable[str], extension: str) -> dict[str, list[str]]:
    """The files with this ending; the ending as it is set comes before one in other letters (`.TXT`)."""
    files: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        stem, ending = Path(name).stem, Path(name).suffix
        if not name.startswith(".") and ending.lower() == extension.lower():
            files[stem].insert(0 if ending == extension else len(files[stem]), name)
    return dict(files)


def _count_other_endings(
    text: ConceptText, names: Iterable[str], without: set[str], elsewhere: defaultdict[str, int]
) -> None:
    for ending in _OTHER_ENDINGS:
        if ending != text.caption_extension.lower() and without:
            count = len(without & _by_stem(names, ending).keys())
            if count:
                elsewhere[ending] += count


# -- the pictures' names


def _read_names(pictures: Sequence[AnyPath], found: CaptionsFound[AnyPath]) -> None:
    for picture in pictures:
        stem = Path(picture).stem
        if not _is_utf8(stem):
            found.problems.append(
                f"{printable(picture)}: its name is no caption, as it is not UTF-8 text. Give it another name."
            )
        elif caption := caption_in_name(stem):
            found.captions[picture] = (caption,)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# -- a metadata file


def _read_metadata(concept: Concept, pictures: Sequence[AnyPath], found: CaptionsFound[AnyPath]) -> None:
    text, path = concept.text, Path(concept.text.metadata_path).expanduser()
    try:
        entries = read_metadata(path, text.separator, LARGEST_CAPTION)
    except PictureError as error:
        found.problems.append(str(error))
        return
    matched = match_metadata(list(entries), Path(concept.folder).expanduser(), [os.fspath(p) for p in pictures])
    for picture, key in zip(pictures, matched.keys, strict=True):
        if key is not None and entries[key]:
            found.captions[picture] = captions_of(text, entries[key])
    found.problems.extend(_ambiguous(path, matched.ambiguous))
    if matched.rivals:
        found.problems.append(
            f"The metadata file {path} names pictures in {listed(matched.rivals)}, and it can't be told which of them "
            f"are those in {concept.folder}. Put the folder's own path into the file."
        )
    if matched.moved:
        found.warnings.append(
            f"The metadata file {path} names pictures in {matched.moved}; those in {concept.folder} are taken for "
            "the same."
        )
    if matched.unused:
        found.warnings.append(
            f"No picture fits {len(matched.unused)} of the {len(entries)} entries of the metadata file {path}: "
            f"{listed(matched.unused)}."
        )


def _ambiguous(path: Path, several: dict[str, list[str]]) -> Iterator[str]:
    for key, pictures in several.items():
        names = listed([printable(picture) for picture in pictures])
        yield (
            f"In the metadata file {path}, {key!r} fits several pictures: {names}. "
            "Name each by its path, or give the pictures different names."
        )
