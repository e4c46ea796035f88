"""Looks through the folders of a run and says what would be learned from, what is left out, and why."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from core.dataset.folders import list_folder
from core.dataset.found import Picture, Survey, counted, listed
from core.dataset.looks import look_at
from core.dataset.manifest import Entry, Note
from core.dataset.pictures import resized_size
from core.dataset.settings import Buckets, Concept
from core.dataset.taking import Taking
from core.errors import PictureError

COPIES = "The same picture is there more than once"

__all__ = ["COPIES", "Note", "Picture", "Survey", "look_through", "proposed_repeats", "survey"]


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
    takings: list[Taking] = []
    for index, concept in enumerate(concepts):
        if concept.enabled:
            try:
                takings.append(Taking(list_folder(index, concept), buckets))
            except PictureError as error:
                found.problems.append(str(error))
    workers = max((taking.concept.image.detail_crops.parallel_workers for taking in takings), default=0)
    looks = look_at([job for taking in takings for job in taking.jobs()], report, workers)
    for taking in takings:
        taking.take(looks, found)
    found.warnings.extend(_general_warnings(found.entries))
    return found


def proposed_repeats(folder: Path | str) -> int | None:
    """The repeats that a folder named in kohya's way proposes: 10 for `10_cat`. Nothing uses it unasked."""
    match = re.match(r"(\d+)_", Path(folder).name)
    repeats = int(match[1]) if match else 0
    return repeats if 1 <= repeats <= 10_000 else None


def _general_warnings(entries: list[Entry]) -> Iterator[str]:
    same: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for entry in entries:
        same[entry.sha256].setdefault(entry.path, entry.name)
    copies = [" = ".join(names.values()) for names in same.values() if len(names) > 1]
    if copies:
        yield f"{COPIES}: {listed(copies)}."
    whole = [(entry, size) for entry in entries if not entry.tile for size in entry.buckets]
    enlarged = _names(entry for entry, size in whole if resized_size(entry.size, size).width > 2 * entry.width)
    if enlarged:
        yield f"{counted(len(enlarged), 'picture')} enlarged to more than twice the size: {listed(enlarged)}."
    cropped = _names(entry for entry, size in whole if size.area / resized_size(entry.size, size).area < 2 / 3)
    if cropped:
        yield f"{counted(len(cropped), 'picture')} cropped by more than a third of the area: {listed(cropped)}."


def _names(entries: Iterable[Entry]) -> list[str]:
    """Their names, each once."""
    return list(dict.fromkeys(entry.name for entry in entries))


def _together(problems: list[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return "The pictures can't be used as they are:" + "".join(f"\n  {problem}" for problem in problems)
