"""What a survey of the folders finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from core.contracts import Size
from core.dataset.folders import Passed
from core.dataset.looks import Look
from core.dataset.manifest import Entry, Note
from core.dataset.settings import Concept

_NAMED = 20  # of one kind of problem, so many files are named


class Picture(NamedTuple):
    """A picture that was looked at, whether it is used or not. concept: index into the config's."""

    path: str
    concept: int
    look: Look


@dataclass
class Survey:
    """What was found.

    concepts: those of the config, which entries point into. entries: the pictures to learn from (and those to measure
    with), in the order of concepts and names; a picture's tiles come after it. lines: of each concept with a prompt
    file, its captions. left_out, converted: single pictures. warnings: what is worth a look and stops nothing.
    problems: what stops a run. pictures: every picture that was looked at. passed: for each concept whose folder could
    be read, what lies there besides.
    """

    concepts: Sequence[Concept]
    entries: list[Entry] = field(default_factory=list)
    lines: dict[int, tuple[str, ...]] = field(default_factory=dict)
    left_out: list[Note] = field(default_factory=list)
    converted: list[Note] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    passed: list[Passed] = field(default_factory=list)

    def bucket_counts(self) -> dict[Size, int]:
        """How many pictures and tiles each size has; one that is shown at several sizes counts in each."""
        counts = Counter(size for entry in self.entries for size in entry.buckets)
        return dict(sorted(counts.items(), key=lambda item: (item[0].width, item[0].height)))


def listed(names: Sequence[str]) -> str:
    """The names in one line; of very many, the first and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def counted(count: int, thing: str) -> str:
    """`1 picture`, `2 pictures`."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
