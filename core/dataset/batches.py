"""The plan of a run: which pictures are shown in which step, in which batch, with which caption, to which process."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from core.contracts import Size
from core.dataset.captions import CaptionDraw, caption_for, undropped_caption
from core.dataset.draws import shuffled, uniform_for
from core.dataset.manifest import Entry, Manifest
from core.dataset.settings import Buckets, Concept
from core.dataset.turns import Pool, Showing, Turns
from core.dataset.views import Shown, View, is_regenerated, period_of, view_of
from core.errors import PictureError

_LOOKED_AT = 1000
"""If none of so many epochs has a step, none will."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One picture shown once.

    entry: index into the entries. repeat: the how-manieth time in this epoch, from 0.
    sample: number of this showing within the run; the key of its noise and times.
    masked: whether its mask counts this time.
    counts: False for a sample that only keeps a process busy (see Step); its weight in the batch is 0.
    """

    entry: int
    repeat: int
    sample: int
    view: View
    caption: str
    masked: bool = False
    counts: bool = True


@dataclass(frozen=True)
class Batching:
    """How pictures are put together: so many in a batch, so many batches for each process in a step."""

    batch_size: int
    accumulation: int = 1
    processes: int = 1

    @property
    def per_step(self) -> int:
        """Batches in a step, over all processes."""
        return self.accumulation * self.processes


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


class Plan:
    """What is shown when: a pure function of its arguments.

    Each concept's pictures are shown `repeats` times an epoch, or `samples_per_epoch` of them in turn; those of
    regularisation concepts too (kohya's trainer repeats these until they are as many as the others; here the numbers
    are as they are set). A batch holds pictures of one bucket. Inside buckets, and over all batches, the order is drawn
    anew in each epoch. A step is `accumulation` batches of `batch_size` for each process; none crosses an epoch, so the
    last is shorter. Validation concepts aren't shown.

    held_out: entries of standard concepts that are only measured (see core.dataset.held_out).
    lines: of each concept with a prompt file, its captions. keeps_images, keeps_text: whether versions of pictures and
    captions are encoded once and kept (see `image_variations` and `text_variations`), or drawn anew each time.
    """

    def __init__(
        self,
        manifest: Manifest,
        concepts: Sequence[Concept],
        buckets: Buckets,
        batching: Batching,
        seed: int = 0,
        keeps_images: bool = True,
        keeps_text: bool = True,
        held_out: frozenset[int] = frozenset(),
    ) -> None:
        self.entries, self.lines, self.concepts = list(manifest.entries), manifest.lines, list(concepts)
        self.seed, self.batching, self.remainder = seed, batching, buckets.remainder
        self._keeps_images, self._keeps_text, self.held_out = keeps_images, keeps_text, held_out
        self.turns = Turns(self.entries, self.concepts, seed, held_out)
        self._even = self.turns.are_even
        self._fillers = len(self.turns.sizes) * (batching.batch_size - 1) if self.remainder == "repeat" else 0
        self._kept = lru_cache(maxsize=2)(self._steps)
        self._counted = lru_cache(maxsize=None)(self._batches_in)
        if not self.pools:
            raise PictureError("There is nothing to train on.", do="Add pictures to learn from.")
        if not any(self.steps_per_epoch(epoch) for epoch in range(1 if self._even else _LOOKED_AT)):
            raise PictureError(
                "There is nothing to train on.",
                f"No size ever has the {batching.batch_size} pictures that fill a batch, and what doesn't fill one is "
                "dropped.",
                "Choose a smaller batch size, or keep what doesn't fill a batch.",
            )

    @property
    def pools(self) -> list[Pool]:
        """The pictures of each concept that is trained."""
        return self.turns.pools

    def steps_per_epoch(self, epoch: int = 0) -> int:
        """Optimizer steps in an epoch; epochs may differ where resolutions or pictures are shown in turn."""
        return math.ceil(self._counted(0 if self._even else epoch) / self.batching.per_step)

    def next_epoch(self, epoch: int) -> int:
        """The first epoch, from this one on, that has a step: where few pictures are shown in turn, some have none."""
        while not self.steps_per_epoch(epoch):
            epoch += 1
        return epoch

    def total_steps(self, epochs: int, most: int = 0) -> int:
        """Optimizer steps in so many epochs, but at most `most`, if that isn't 0."""
        if self._even:
            steps = epochs * self.steps_per_epoch()
            return min(steps, most) if most else steps
        steps = 0
        for epoch in range(epochs):
            steps += self.steps_per_epoch(epoch)
            if most and steps >= most:
                return most
        return steps

    def samples_per_epoch(self, epoch: int = 0) -> int:
        """Pictures shown in an epoch, with repeats, and with what the remainder adds or takes away."""
        return sum(step.samples for step in self.epoch(epoch))

    def epoch(self, epoch: int) -> list[Step]:
        """The steps of an epoch, from 0. The last two epochs are kept."""
        return self._kept(epoch)

    def captions_of(self, entry: Entry) -> Sequence[str]:
        """An entry's own captions (a tile may have one too), or else the lines of its concept's prompt file."""
        return entry.captions or self.lines.get(entry.concept, ())

    def shown(self, draw: Draw) -> Shown:
        """The picture of a draw, and how it is shown."""
        entry = self.entries[draw.entry]
        return Shown(entry, draw.view, self.concepts[entry.concept].image)

    def captions(self, epochs: int) -> set[str]:
        """Every caption that is shown in so many epochs, and the empty one where captions are dropped."""
        captions: set[str] = set()
        for pool in self.pools:
            concept = self.concepts[pool.concept]
            if concept.text.caption_dropout:
                captions.add("")
            if not self._is_drawn_by_sample(concept):
                captions |= set(self._captions_in_turn(pool, epochs))
        drawn = {pool.concept for pool in self.pools if self._is_drawn_by_sample(self.concepts[pool.concept])}
        for epoch in range(epochs) if drawn else ():
            shown = (showing for batch in self._batches(epoch) for showing in batch)
            captions |= {self._caption(s, epoch) for s in shown if self.entries[s.entry].concept in drawn}
        return captions

    def _captions_in_turn(self, pool: Pool, epochs: int) -> Iterator[str]:
        """What is shown where how often a picture was shown decides alone, were no caption dropped."""
        concept = self.concepts[pool.concept]
        for place, index in enumerate(pool.entries):
            entry, times = self.entries[index], pool.times(place, epochs)
            if versions := self._text_versions(concept):
                times = min(times, max(1, len(entry.captions)) * versions)
            for times_shown in range(times):
                yield undropped_caption(concept, self.captions_of(entry), self._caption_draw(entry, times_shown))

    def images(self, epochs: int) -> list[Shown]:
        """Every picture in every view that is shown in so many epochs, each once."""
        shown = {}
        for pool in self.pools:
            concept = self.concepts[pool.concept]
            for place, index in enumerate(pool.entries):
                entry = self.entries[index]
                for view in self._views(pool, place, entry, concept, epochs):
                    shown[index, view] = Shown(entry, view, concept.image)
        return list(shown.values())

    def bucket_counts(self, epoch: int = 0) -> Counter[Size]:
        """How many pictures an epoch shows at each size, with repeats."""
        return self.turns.bucket_counts(epoch)

    def left_over(self, epoch: int = 0) -> int:
        """How many showings of an epoch don't fill a batch: these are dropped under `drop`."""
        return sum(count % self.batching.batch_size for count in self.bucket_counts(epoch).values())

    def remainder_notes(self) -> list[str]:
        """What becomes of the pictures that don't fill a batch, and what the other choices would do; for a report."""
        over, size = self.left_over(), self.batching.batch_size
        if not over:
            return []
        counts = list(self.bucket_counts(0).values())
        never = sum(count for count in counts if count < size)
        words = {
            "smaller_batch": f"{over} are shown in {sum(c % size > 0 for c in counts)} smaller batches",
            "repeat": f"{sum(-c % size for c in counts)} are shown once more to fill the batches",
            "drop": f"{over} are not shown" + (f", {never} of them in no epoch" if never and self._even else ""),
        }
        chosen = words.pop(self.remainder)
        others = "; ".join(f"under `{name}` {text}" for name, text in words.items())
        when = "In each epoch" if self._even else "In the first epoch"
        return [f"{when} {chosen} ({self.remainder}). Instead, {others}."]

    # -- what an epoch shows

    def _batches_in(self, epoch: int) -> int:
        down = self.remainder == "drop"
        sizes = [count / self.batching.batch_size for count in self.bucket_counts(epoch).values()]
        return sum(math.floor(size) if down else math.ceil(size) for size in sizes)

    def _batches(self, epoch: int) -> list[list[Showing]]:
        size, batches = self.batching.batch_size, []
        filler = self.turns.stride
        for bucket, showings in self.turns.showings(epoch).items():
            order = shuffled(showings, self.seed, "order", epoch, bucket.width, bucket.height, bucket.frames)
            if self.remainder == "repeat":
                missing = -len(order) % size
                order += [_again(order[i % len(order)], filler + i, i // len(order)) for i in range(missing)]
                filler += missing
            batches += [order[start : start + size] for start in range(0, len(order), size)]
            if self.remainder == "drop" and len(batches[-1]) < size:
                batches.pop()
        return shuffled(batches, self.seed, "batches", epoch)

    def _steps(self, epoch: int) -> list[Step]:
        batches = [[self._draw(showing, epoch) for showing in batch] for batch in self._batches(epoch)]
        each = self.batching.per_step
        return [self._step(batches[start : start + each]) for start in range(0, len(batches), each)]

    # -- how a picture is shown

    def _draw(self, showing: Showing, epoch: int) -> Draw:
        entry = self.entries[showing.entry]
        concept = self.concepts[entry.concept]
        sample = self._sample(showing, epoch)
        view = view_of(entry, concept, self.seed, showing.times_shown, epoch, self._keeps_images)
        masked = concept.image.mask != "off" and (
            uniform_for(self.seed, "unmasked", epoch, sample) >= concept.image.unmasked_probability
        )
        return Draw(showing.entry, showing.repeat, sample, view, self._caption(showing, epoch), masked)

    def _sample(self, showing: Showing, epoch: int) -> int:
        return epoch * (self.turns.stride + self._fillers) + showing.number

    def _caption(self, showing: Showing, epoch: int) -> str:
        entry = self.entries[showing.entry]
        draw = self._caption_draw(entry, showing.times_shown, epoch, self._sample(showing, epoch))
        return caption_for(self.concepts[entry.concept], self.captions_of(entry), draw)

    def _caption_draw(self, entry: Entry, times_shown: int, epoch: int = 0, sample: int = 0) -> CaptionDraw:
        return CaptionDraw(self.seed, entry.key, times_shown, epoch, sample, self._keeps_text)

    def _is_drawn_by_sample(self, concept: Concept) -> bool:
        """Whether which of its captions is shown hangs on the sample, so that each has to be looked at."""
        return concept.text.lines_path is not None or concept.text.caption_lines == "random"

    def _text_versions(self, concept: Concept) -> int:
        """How many versions a caption has; 0 where each showing is a new one."""
        if not concept.text.varies:
            return 1
        return concept.text_variations if self._keeps_text else 0

    def _views(self, pool: Pool, place: int, entry: Entry, concept: Concept, epochs: int) -> Iterator[View]:
        times = pool.times(place, epochs)
        if is_regenerated(entry, concept):
            for epoch in range(epochs):
                begin, end = pool.times(place, epoch), pool.times(place, epoch + 1)
                for times_shown in range(begin, end):
                    yield view_of(entry, concept, self.seed, times_shown, epoch, self._keeps_images)
            return
        for times_shown in range(min(times, period_of(entry, concept)) if self._keeps_images else times):
            yield view_of(entry, concept, self.seed, times_shown, 0, self._keeps_images)

    def _step(self, batches: list[list[Draw]]) -> Step:
        """Deal batches to the processes in turn."""
        processes = self.batching.processes
        ranks: list[list[list[Draw]]] = [[] for _ in range(processes)]
        for start in range(0, len(batches), processes):
            for rank, batch in zip(ranks, _spread(batches[start : start + processes], processes), strict=True):
                rank.append(batch)
        return Step(ranks)


def _again(showing: Showing, number: int, rounds: int) -> Showing:
    """The same picture once more, to fill a batch."""
    return showing._replace(repeat=showing.repeat + 1 + rounds, number=number)


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
