"""Which pictures an epoch shows: each concept shows its own in turn, as often as is set."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from core.contracts import Size
from core.dataset.draws import shuffled
from core.dataset.manifest import Entry
from core.dataset.settings import Concept
from core.dataset.views import bucket_of


class Showing(NamedTuple):
    """A picture in an epoch's order.

    repeat: the how-manieth time in this epoch. number: within the epoch. times_shown: how often it was shown before.
    """

    entry: int
    repeat: int
    number: int
    times_shown: int


@dataclass(frozen=True)
class Pool:
    """The pictures of a concept, which it shows in turn.

    entries: indices, in a drawn order. per_epoch: how many are shown in an epoch; where it isn't whole, epochs differ
    by one. All showings of the run are numbered through, so that fractions go round evenly.
    """

    concept: int
    entries: Sequence[int]
    per_epoch: Fraction

    def begin(self, epoch: int) -> int:
        """Showings before an epoch."""
        return math.floor(self.per_epoch * epoch)

    def showings(self, epoch: int) -> Iterator[tuple[int, int]]:
        """The entries of an epoch, each with how often it was shown before."""
        count = len(self.entries)
        for turn in range(self.begin(epoch), self.begin(epoch + 1)):
            yield self.entries[turn % count], turn // count

    def times(self, place: int, epochs: int) -> int:
        """How often the entry at a place of the order is shown in so many epochs."""
        return (self.begin(epochs) - place + len(self.entries) - 1) // len(self.entries)


class Turns:
    """What each epoch shows: a pure function of its arguments. Concepts that aren't trained show nothing.

    held_out: entries that aren't shown.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        concepts: Sequence[Concept],
        seed: int,
        held_out: Collection[int] = frozenset(),
    ) -> None:
        self._entries = entries
        self.pools = list(_pools(entries, concepts, seed, held_out))
        self._first = [
            sum(math.ceil(pool.per_epoch) for pool in self.pools[:place]) for place in range(len(self.pools))
        ]

    @property
    def stride(self) -> int:
        """Every number of a showing, in any epoch, is below this."""
        return sum(math.ceil(pool.per_epoch) for pool in self.pools)

    @property
    def sizes(self) -> set[Size]:
        """All buckets that are ever used."""
        return {size for pool in self.pools for index in pool.entries for size in self._entries[index].buckets}

    @property
    def are_even(self) -> bool:
        """Whether all epochs show the same pictures at the same sizes."""
        one_size = all(len(self._entries[index].buckets) == 1 for pool in self.pools for index in pool.entries)
        return one_size and all((pool.per_epoch / len(pool.entries)).denominator == 1 for pool in self.pools)

    def showings(self, epoch: int) -> dict[Size, list[Showing]]:
        """What each bucket shows in an epoch."""
        buckets: defaultdict[Size, list[Showing]] = defaultdict(list)
        for pool, first in zip(self.pools, self._first, strict=True):
            repeats: Counter[int] = Counter()
            for number, (index, times_shown) in enumerate(pool.showings(epoch), start=first):
                size = bucket_of(self._entries[index], times_shown)
                buckets[size].append(Showing(index, repeats[index], number, times_shown))
                repeats[index] += 1
        return dict(sorted(buckets.items(), key=lambda item: (item[0].width, item[0].height, item[0].frames)))

    def bucket_counts(self, epoch: int) -> Counter[Size]:
        """How many pictures an epoch shows at each size, with repeats."""
        counts: Counter[Size] = Counter()
        for pool in self.pools:
            counts.update(bucket_of(self._entries[index], times) for index, times in pool.showings(epoch))
        return counts


def _pools(
    entries: Sequence[Entry], concepts: Sequence[Concept], seed: int, held_out: Collection[int]
) -> Iterator[Pool]:
    """In the order of the concepts."""
    own: defaultdict[int, list[int]] = defaultdict(list)
    for index, entry in enumerate(entries):
        if index not in held_out:
            own[entry.concept].append(index)
    for number, concept in enumerate(concepts):
        if concept.trains and own[number]:
            repeats = Fraction(concept.repeats).limit_denominator(1_000_000)
            per_epoch = Fraction(concept.samples_per_epoch) or repeats * len(own[number])
            yield Pool(number, shuffled(own[number], seed, "turns", number), per_epoch)
