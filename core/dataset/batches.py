"""The plan of a run: which pictures are shown in which step, in which batch, with which caption, to which process."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from core.contracts import Size
from core.dataset.captions import caption_for, varies
from core.dataset.draws import shuffled, uniform_for
from core.dataset.manifest import Entry
from core.dataset.settings import Buckets, Concept
from core.errors import PictureError


@dataclass(frozen=True)
class Draw:
    """One picture shown once.

    entry: index into the entries. repeat: the how-manieth time in this epoch, from 0.
    sample: number of this showing within the run; the key of its noise and times.
    counts: False for a sample that only keeps a process busy (see Step); its weight in the batch is 0.
    """

    entry: int
    repeat: int
    sample: int
    flip: bool
    caption: str
    counts: bool = True


@dataclass(frozen=True)
class Step:
    """The samples of one optimizer step: for each process the micro-batches that it runs, each of one bucket.

    All processes run the same number of micro-batches, none of them empty. Where an epoch's last step has too few,
    a batch is split among the processes; where it has fewer samples than processes, the others repeat one that doesn't
    count. So the sum of the weighted losses over all processes, divided by `samples`, is exact.
    """

    ranks: list[list[list[Draw]]]

    @property
    def samples(self) -> int:
        """How many samples count, over all processes."""
        return sum(draw.counts for rank in self.ranks for batch in rank for draw in batch)


class _Showing(NamedTuple):
    """A picture in an epoch's order. number: within the epoch."""

    entry: int
    repeat: int
    number: int


class Plan:
    """What is shown when: a pure function of its arguments.

    Each concept's pictures are shown `repeats` times an epoch, those of regularisation concepts too (kohya's trainer
    repeats these until they are as many as the others; here the numbers are as they are set). A batch holds pictures
    of one bucket. Inside buckets, and over all batches, the order is drawn anew in each epoch.
    A step is `accumulation` batches of `batch_size` for each process; none crosses an epoch, so the last is shorter.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        concepts: Sequence[Concept],
        buckets: Buckets,
        batch_size: int,
        accumulation: int = 1,
        seed: int = 0,
        processes: int = 1,
    ) -> None:
        self.entries, self.concepts, self.seed = list(entries), list(concepts), seed
        self.batch_size, self.accumulation, self.processes = batch_size, accumulation, processes
        self.remainder = buckets.remainder
        self._buckets = self._showings()
        self._stride = sum(len(showings) for showings in self._buckets.values()) + self._fillers()
        self._kept = lru_cache(maxsize=2)(self._steps)
        if not self._batches_per_epoch():
            raise PictureError(
                "There is nothing to train on.",
                f"No size has the {batch_size} pictures that fill a batch, and what doesn't fill one is dropped.",
                "Choose a smaller batch size, or keep what doesn't fill a batch.",
            )

    @property
    def samples_per_epoch(self) -> int:
        """Pictures shown in an epoch, with repeats, and with what the remainder adds or takes away."""
        size = self.batch_size
        if self.remainder == "drop":
            return sum(len(showings) // size * size for showings in self._buckets.values())
        return self._stride

    def steps_per_epoch(self, epoch: int = 0) -> int:
        """Optimizer steps in an epoch; all epochs have the same number."""
        return math.ceil(self._batches_per_epoch() / (self.accumulation * self.processes))

    def epoch(self, epoch: int) -> list[Step]:
        """The steps of an epoch, from 0. The last two epochs are kept."""
        return self._kept(epoch)

    def _steps(self, epoch: int) -> list[Step]:
        batches = [[self._draw(showing, epoch) for showing in batch] for batch in self._batches(epoch)]
        each = self.accumulation * self.processes
        return [self._step(batches[start : start + each]) for start in range(0, len(batches), each)]

    def captions(self, epochs: int) -> set[str]:
        """Every caption that is shown in so many epochs."""
        captions = set()
        for index, entry in enumerate(self.entries):
            if not varies(self.concepts[entry.concept]):
                captions.add(self._caption(index, 0, 0))
        changing = {i for i, entry in enumerate(self.entries) if varies(self.concepts[entry.concept])}
        for epoch in range(epochs) if changing else ():
            shown = [showing for batch in self._batches(epoch) for showing in batch]
            captions |= {self._caption(s.entry, epoch, self._sample(s, epoch)) for s in shown if s.entry in changing}
        return captions

    def images(self) -> list[tuple[int, bool]]:
        """Every picture that can be shown: index of its entry, and whether mirrored."""
        flips = [self.concepts[entry.concept].image.flip for entry in self.entries]
        return [(index, flip) for index, both in enumerate(flips) for flip in ((False, True) if both else (False,))]

    def left_over(self) -> int:
        """How many showings per epoch don't fill a batch: these are dropped under `drop`."""
        return sum(len(showings) % self.batch_size for showings in self._buckets.values())

    def remainder_notes(self) -> list[str]:
        """What becomes of the pictures that don't fill a batch, and what the other choices would do; for a report."""
        over, size = self.left_over(), self.batch_size
        if not over:
            return []
        counts = [len(showings) for showings in self._buckets.values()]
        never = sum(count for count in counts if count < size)
        words = {
            "smaller_batch": f"{over} are shown in {sum(c % size > 0 for c in counts)} smaller batches",
            "repeat": f"{sum(-c % size for c in counts)} are shown once more to fill the batches",
            "drop": f"{over} are not shown" + (f", {never} of them in no epoch" if never else ""),
        }
        chosen = words.pop(self.remainder)
        others = "; ".join(f"under `{name}` {text}" for name, text in words.items())
        return [f"In each epoch {chosen} ({self.remainder}). Instead, {others}."]

    def _showings(self) -> dict[Size, list[_Showing]]:
        """What each bucket shows in an epoch, in the order that numbers the samples."""
        buckets: defaultdict[Size, list[_Showing]] = defaultdict(list)
        number = 0
        for index, entry in enumerate(self.entries):
            for repeat in range(self.concepts[entry.concept].repeats):
                buckets[entry.bucket].append(_Showing(index, repeat, number))
                number += 1
        return dict(sorted(buckets.items(), key=lambda item: (item[0].width, item[0].height, item[0].frames)))

    def _fillers(self) -> int:
        if self.remainder != "repeat":
            return 0
        return sum(-len(showings) % self.batch_size for showings in self._buckets.values())

    def _batches_per_epoch(self) -> int:
        down = self.remainder == "drop"
        sizes = [len(showings) / self.batch_size for showings in self._buckets.values()]
        return sum(math.floor(size) if down else math.ceil(size) for size in sizes)

    def _batches(self, epoch: int) -> list[list[_Showing]]:
        size, batches = self.batch_size, []
        filler = self._stride - self._fillers()
        for bucket, showings in self._buckets.items():
            order = shuffled(showings, self.seed, "order", epoch, bucket.width, bucket.height, bucket.frames)
            if self.remainder == "repeat":
                missing = -len(order) % size
                order += [_again(order[i % len(order)], filler + i, i // len(order)) for i in range(missing)]
                filler += missing
            batches += [order[start : start + size] for start in range(0, len(order), size)]
            if self.remainder == "drop" and len(batches[-1]) < size:
                batches.pop()
        return shuffled(batches, self.seed, "batches", epoch)

    def _draw(self, showing: _Showing, epoch: int) -> Draw:
        sample = self._sample(showing, epoch)
        mirrors = self.concepts[self.entries[showing.entry].concept].image.flip
        flip = mirrors and uniform_for(self.seed, "flip", epoch, sample) < 0.5
        return Draw(showing.entry, showing.repeat, sample, flip, self._caption(showing.entry, epoch, sample))

    def _sample(self, showing: _Showing, epoch: int) -> int:
        return epoch * self._stride + showing.number

    def _caption(self, index: int, epoch: int, sample: int) -> str:
        entry = self.entries[index]
        return caption_for(self.concepts[entry.concept], entry.caption, self.seed, epoch, sample)

    def _step(self, batches: list[list[Draw]]) -> Step:
        """Deal batches to the processes in turn."""
        ranks: list[list[list[Draw]]] = [[] for _ in range(self.processes)]
        for start in range(0, len(batches), self.processes):
            for rank, batch in zip(
                ranks, _spread(batches[start : start + self.processes], self.processes), strict=True
            ):
                rank.append(batch)
        return Step(ranks)


def _again(showing: _Showing, number: int, rounds: int) -> _Showing:
    """The same picture once more, to fill a batch."""
    return _Showing(showing.entry, showing.repeat + 1 + rounds, number)


def _spread(batches: list[list[Draw]], count: int) -> list[list[Draw]]:
    """Split the largest of the batches until there are `count`; if that isn't enough, add repeats that don't count."""
    pieces = list(batches)
    while len(pieces) < count:
        largest = max(range(len(pieces)), key=lambda i: len(pieces[i]))
        piece = pieces[largest]
        if len(piece) == 1:
            pieces.append([replace(piece[0], counts=False)])
            continue
        half = math.ceil(len(piece) / 2)
        pieces[largest : largest + 1] = [piece[:half], piece[half:]]
    return pieces
