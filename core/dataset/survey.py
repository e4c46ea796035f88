"""Looks through the folders of a run and says what would be learned from, what is left out, and why."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from core.contracts import Size
from core.dataset.buckets import bucket_for
from core.dataset.captions import read_caption
from core.dataset.folders import CONDITIONING_ENDING, MASK_ENDING, Folder, list_folder
from core.dataset.looks import Job, Look, look_at
from core.dataset.manifest import Entry, Note
from core.dataset.pictures import resized_size
from core.dataset.settings import Buckets, Concept
from core.errors import PictureError

SHORTEST_SIDE = 16
"""Pictures with a side under this many pixels teach nothing and are left out."""

_NAMED = 20  # of one kind of problem, so many files are named


class Picture(NamedTuple):
    """A picture that was looked at, whether it is used or not."""

    path: str
    concept: int
    look: Look


@dataclass
class Survey:
    """What was found.

    concepts: those of the config, which entries point into. entries: the pictures to learn from (and those to measure
    with), in the order of concepts and names; a picture's tiles come after it. lines: of each concept with a prompt
    file, its captions. left_out, converted: single pictures. warnings: what is worth a look and stops nothing.
    problems: what stops a run. pictures: every picture that was looked at. folders: the files of each concept.
    """

    concepts: Sequence[Concept]
    entries: list[Entry] = field(default_factory=list)
    lines: dict[int, tuple[str, ...]] = field(default_factory=dict)
    left_out: list[Note] = field(default_factory=list)
    converted: list[Note] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)

    def bucket_counts(self) -> dict[Size, int]:
        """How many pictures and tiles each size has; one that is shown at several sizes counts in each."""
        counts = Counter(size for entry in self.entries for size in entry.buckets)
        return dict(sorted(counts.items(), key=lambda item: (item[0].width, item[0].height)))


def survey(
    concepts: Sequence[Concept], buckets: Buckets, report: Callable[[int, int], None] = lambda done, total: None
) -> Survey:
    """Read every picture and caption of the enabled concepts.

    A picture that can't be used is left out, with its reason. PictureError, with the problems of all folders at once:
    a folder that is missing, unreadable or without a usable picture; captions that can't be read; two pictures that
    would share one caption file. `report` is told how many pictures are read, and of how many.
    """
    found = look_through(concepts, buckets, report)
    if found.problems:
        raise PictureError(_together(found.problems))
    return found


def look_through(
    concepts: Sequence[Concept], buckets: Buckets, report: Callable[[int, int], None] = lambda done, total: None
) -> Survey:
    """As `survey`, but what stops a run is in `problems`, beside all the rest."""
    found = Survey(concepts)
    for index, concept in enumerate(concepts):
        if concept.enabled:
            try:
                found.folders.append(list_folder(index, concept))
            except PictureError as error:
                found.problems.append(str(error))
    takings = [_Taking(folder, buckets, found) for folder in found.folders]
    looks = look_at([job for taking in takings for job in taking.jobs()], report)
    for taking in takings:
        taking.take(looks)
    found.warnings.extend(_general_warnings(found.entries))
    return found


def proposed_repeats(folder: Path | str) -> int | None:
    """The repeats that a folder named in kohya's way proposes: 10 for `10_cat`. Nothing uses it unasked."""
    match = re.match(r"(\d+)_", Path(folder).name)
    repeats = int(match[1]) if match else 0
    return repeats if 1 <= repeats <= 10_000 else None


class _Taking:
    """Takes the pictures of one folder into what was found."""

    def __init__(self, folder: Folder, buckets: Buckets, found: Survey) -> None:
        self.folder, self.concept, self.buckets, self.found = folder, folder.concept, buckets, found
        self.partly: list[str] = []
        self.resolutions = buckets.resolutions(folder.concept)
        image = self.concept.image
        there = set(folder.companions)
        self.masks = _beside(folder.pictures, MASK_ENDING, there)
        self.conditionings = _beside(folder.pictures, CONDITIONING_ENDING, there)
        self.wanted = [
            *(self.masks.values() if image.mask == "file" else ()),
            *(self.conditionings.values() if image.conditioning else ()),
        ]

    def jobs(self) -> Iterator[Job]:
        """What has to be read: the pictures, then those that lie beside them."""
        image = self.concept.image
        crops = image.detail_crops if image.detail_crops.enabled else None
        for path in self.folder.pictures:
            yield Job(path, image.alpha_colour, crops)
        for path in self.wanted:
            yield Job(path)

    def take(self, looks: Iterator[Look]) -> None:
        """Take what the looks at `jobs` gave."""
        folder, found = self.folder, self.found
        found.problems.extend(_shared_captions(folder))
        captions, unreadable = _read_captions(folder)
        found.problems.extend(unreadable)
        own = list(islice(looks, len(folder.pictures)))
        beside = dict(zip(self.wanted, islice(looks, len(self.wanted)), strict=True))
        before = len(found.left_out)
        for path, look in zip(folder.pictures, own, strict=True):
            found.pictures.append(Picture(str(path), folder.index, look))
            self._take_picture(path, look, captions.get(path), beside)
        if len(found.left_out) - before == len(own):
            reasons = _listed([f"{Path(note.path).name}: {note.reason}" for note in found.left_out[before:]])
            found.problems.append(f"No picture in the folder {folder.path} can be used: {reasons}")
        found.left_out.extend(
            Note(str(path), "This format isn't read; save it as PNG or JPEG.") for path in folder.foreign
        )
        found.warnings.extend(_folder_warnings(folder, captions))
        found.warnings.extend(self._own_warnings())

    def _own_warnings(self) -> Iterator[str]:
        """About masks, conditioning pictures and resolutions."""
        image, where = self.concept.image, f"In {self.folder.path}:"
        if self.partly:
            yield (
                f"{where} {len(self.partly)} pictures are too small for some of the resolutions and are shown at the "
                f"others: {_listed(self.partly)}."
            )
        for wanted, pairs, title in (
            (image.mask == "file", self.masks, "masks"),
            (image.conditioning, self.conditionings, "conditioning pictures"),
        ):
            without = [self.folder.name_of(path) for path in self.folder.pictures if path not in pairs]
            if wanted and without:
                count = f"{len(without)} of {len(self.folder.pictures)}"
                yield f"{where} {count} pictures have no {title}: {_listed(without)}."
            if pairs and not wanted:
                yield f"{where} there are {len(pairs)} {title}, which are not used: that is off for this concept."
        unpaired = sorted({*self.folder.companions} - {*self.masks.values(), *self.conditionings.values()})
        if unpaired:
            names = _listed(self.folder.names_of(unpaired))
            yield f"{where} {len(unpaired)} masks or conditioning pictures have no picture: {names}."

    def _take_picture(self, path: Path, look: Look, caption: str | None, beside: dict[Path, Look]) -> None:
        try:
            _check(look)
            sizes = self._sizes(look.size, self.folder.name_of(path))
            mask = _companion(path, look, self.masks.get(path), beside)
            conditioning = _companion(path, look, self.conditionings.get(path), beside)
        except PictureError as error:
            self.found.left_out.append(Note(str(path), str(error)))
            return
        if look.converted:
            self.found.converted.append(Note(str(path), look.converted))
        name = f"{self.folder.path.name}/{self.folder.name_of(path)}"
        captions = (caption,) if caption is not None else ()
        index = self.folder.index
        entry = Entry(str(path), look.sha256, look.width, look.height, captions, index, sizes, name, mask, conditioning)
        self.found.entries.append(entry)

    def _sizes(self, size: Size, name: str) -> tuple[Size, ...]:
        """The picture's bucket at each resolution, each once. PictureError where no resolution has one."""
        sizes: dict[Size, None] = {}
        refused: list[PictureError] = []
        for resolution in self.resolutions:
            try:
                sizes[bucket_for(size, self.buckets, resolution)] = None
            except PictureError as error:
                refused.append(error)
        if not sizes:
            raise refused[0]
        if refused:
            self.partly.append(name)
        return tuple(sizes)


def _check(look: Look) -> None:
    """PictureError for a picture that can't be used, whatever its bucket."""
    if look.error:
        raise PictureError(look.error)
    if min(look.width, look.height) < SHORTEST_SIDE:
        raise PictureError(f"It is too small: {look.size}, and each side needs at least {SHORTEST_SIDE} pixels.")


def _beside(pictures: list[Path], ending: str, there: set[Path]) -> dict[Path, Path]:
    """The masks (or conditioning pictures) of the pictures that have one."""
    pairs = ((path, path.with_name(f"{path.stem}{ending}.png")) for path in pictures)
    return {path: other for path, other in pairs if other in there}


def _companion(path: Path, look: Look, other: Path | None, beside: dict[Path, Look]) -> str:
    """sha256 of a mask or conditioning picture. PictureError if it can't be used; empty where none is wanted."""
    if other is None or other not in beside:
        return ""
    its = beside[other]
    if its.error:
        raise PictureError(f"Its {other.name} can't be used: {its.error}")
    if its.size != look.size:
        raise PictureError(f"{path.name} has {look.size} pixels, but {other.name} has {its.size}.")
    return its.sha256


def _shared_captions(folder: Folder) -> Iterator[str]:
    if folder.concept.text.prompt_source != "caption_file":
        return
    stems: defaultdict[Path, list[str]] = defaultdict(list)
    for path in folder.pictures:
        stems[path.with_suffix("")].append(folder.name_of(path))
    shared = [" and ".join(names) for names in stems.values() if len(names) > 1]
    if shared:
        extension = folder.concept.text.caption_extension
        yield (
            f"In {folder.path}, pictures of the same name would share one {extension} caption: {_listed(shared)}. "
            "Rename one of each, with its caption."
        )


def _read_captions(folder: Folder) -> tuple[dict[Path, str], list[str]]:
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


def _folder_warnings(folder: Folder, captions: dict[Path, str]) -> Iterator[str]:
    concept, where = folder.concept, f"In {folder.path}:"
    without = [folder.name_of(path) for path in folder.pictures if not captions.get(path)]
    if without:
        instead = f"the trigger word {concept.trigger_word!r} alone" if concept.trigger_word else "an empty caption"
        ending = concept.text.caption_extension
        yield (
            f"{where} {len(without)} of {len(folder.pictures)} pictures have no caption ({ending} file with text) "
            f"and are shown with {instead}: {_listed(without)}."
        )
    stems = {path.with_suffix("") for path in folder.pictures + folder.foreign}
    orphans = [folder.name_of(path) for path in folder.captions if path.with_suffix("") not in stems]
    if orphans:
        yield f"{where} {len(orphans)} captions have no picture: {_listed(orphans)}."
    if folder.others:
        names = _listed(folder.names_of(folder.others))
        yield f"{where} {len(folder.others)} files are neither pictures nor captions and are passed over: {names}."
    if folder.subfolders:
        names = _listed(folder.names_of(folder.subfolders))
        yield f"{where} subfolders are not looked into: {names}."
    if folder.again:
        names = _listed(folder.names_of(folder.again))
        yield f"{where} {len(folder.again)} links lead to folders that were looked into already: {names}."


def _general_warnings(entries: list[Entry]) -> Iterator[str]:
    same: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    for entry in entries:
        if entry.name not in same[entry.concept, entry.sha256]:
            same[entry.concept, entry.sha256].append(entry.name)
    copies = [" = ".join(names) for names in same.values() if len(names) > 1]
    if copies:
        yield f"The same picture is there more than once: {_listed(copies)}."
    whole = [(entry, size) for entry in entries if not entry.tile for size in entry.buckets]
    enlarged = _names(entry for entry, size in whole if resized_size(entry.size, size).width > 2 * entry.width)
    if enlarged:
        yield f"{len(enlarged)} pictures are enlarged to more than twice their size: {_listed(enlarged)}."
    cropped = _names(entry for entry, size in whole if size.area / resized_size(entry.size, size).area < 2 / 3)
    if cropped:
        yield f"{len(cropped)} pictures lose more than a third of their area to the crop: {_listed(cropped)}."


def _names(entries: Iterable[Entry]) -> list[str]:
    """Their names, each once."""
    return list(dict.fromkeys(entry.name for entry in entries))


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _together(problems: list[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return "The pictures can't be used as they are:" + "".join(f"\n  {problem}" for problem in problems)
