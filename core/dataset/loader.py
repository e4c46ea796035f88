"""Makes the batches of a plan, from the cache or by encoding as they come, reading one ahead on a thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from core.contracts import Batch, Part
from core.dataset.batches import Draw, Plan
from core.dataset.cache import (
    Cache,
    ImageEncoder,
    Kind,
    Shown,
    TextEncoder,
    encode_captions,
    encode_pixels,
    read_pixels,
)
from core.dataset.pictures import framing
from core.errors import OchreError


@dataclass(frozen=True)
class Sources:
    """Where a batch's tensors come from.

    texts: the text encoders that don't train. latents_cache, text_cache: None where it is encoded each time anew;
    otherwise everything is in there already, and `encode` is never called.
    """

    images: ImageEncoder
    texts: Sequence[TextEncoder]
    latents_cache: Cache | None
    text_cache: Cache | None


class _Place(NamedTuple):
    epoch: int
    step: int
    batch: int


@dataclass(frozen=True)
class _Read:
    """What the thread brings. latents, encoded: None where they still have to be encoded; pixels: then 3 H W each."""

    latents: list[Tensor] | None
    pixels: list[Tensor]
    encoded: list[dict[Part, dict[str, Tensor]]] | None


class Loader:
    """The batches of one process, in any order; quick in the plan's own order, where one is read ahead.

    Files are read on a thread; encoders are only called on the thread that asks for the batch.
    """

    def __init__(self, plan: Plan, sources: Sources, rank: int = 0) -> None:
        self.plan, self.sources, self.rank = plan, sources, rank
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._ahead: tuple[_Place, Future[_Read]] | None = None

    def step(self, epoch: int, step: int) -> StepBatches:
        """The micro-batches of a step of an epoch, both from 0; each is made when it is asked for."""
        return StepBatches(self, epoch, step)

    def batch(self, epoch: int, step: int, batch: int) -> Batch:
        """One micro-batch. Raises what went wrong while it was read."""
        place = _Place(epoch, step, batch)
        if self._ahead is not None and self._ahead[0] == place:
            pending = self._ahead[1]
        else:
            if self._ahead is not None:
                self._ahead[1].cancel()
            pending = self._pool.submit(self._read, place)
        following = self._following(place)
        self._ahead = (following, self._pool.submit(self._read, following))
        return self._made(self._draws(place), pending.result())

    def close(self) -> None:
        """End the thread, once it has finished what it is reading."""
        self._ahead = None
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _draws(self, place: _Place) -> list[Draw]:
        return self.plan.epoch(place.epoch)[place.step].ranks[self.rank][place.batch]

    def _following(self, place: _Place) -> _Place:
        steps = self.plan.epoch(place.epoch)
        if place.batch + 1 < len(steps[place.step].ranks[self.rank]):
            return place._replace(batch=place.batch + 1)
        if place.step + 1 < len(steps):
            return _Place(place.epoch, place.step + 1, 0)
        return _Place(place.epoch + 1, 0, 0)

    def _read(self, place: _Place) -> _Read:
        draws, sources = self._draws(place), self.sources
        shown, captions = self._shown(draws), [draw.caption for draw in draws]
        latents, pixels, encoded = None, [], None
        if sources.latents_cache is None:
            pixels = read_pixels(shown)
        else:
            keys = [sources.images.key(*one) for one in shown]
            latents = [_cached(sources.latents_cache, "latents", key)["latents"] for key in keys]
        if sources.text_cache is not None:
            cache = sources.text_cache
            encoded = [{e.part: _cached(cache, "text", e.key(caption)) for e in sources.texts} for caption in captions]
        return _Read(latents, pixels, encoded)

    def _shown(self, draws: Sequence[Draw]) -> list[Shown]:
        return [(self.plan.entries[draw.entry], draw.flip) for draw in draws]

    def _made(self, draws: list[Draw], read: _Read) -> Batch:
        shown, captions = self._shown(draws), [draw.caption for draw in draws]
        latents = encode_pixels(read.pixels, shown, self.sources.images) if read.latents is None else read.latents
        concepts = [self.plan.concepts[entry.concept] for entry, _ in shown]
        weights = [concept.loss_weight * draw.counts for concept, draw in zip(concepts, draws, strict=True)]
        return Batch(
            latents=torch.stack(latents).float(),
            encoded=self._encoded(captions) if read.encoded is None else read.encoded,
            captions=captions,
            framings=[framing(entry.size, entry.bucket, flip) for entry, flip in shown],
            weights=torch.tensor(weights, dtype=torch.float32),
            names=[entry.name for entry, _ in shown],
            kinds=[concept.kind for concept in concepts],
            samples=[draw.sample for draw in draws],
        )

    def _encoded(self, captions: Sequence[str]) -> list[dict[Part, dict[str, Tensor]]]:
        by_part = {encoder.part: encode_captions(captions, encoder) for encoder in self.sources.texts}
        return [{part: encoded[index] for part, encoded in by_part.items()} for index in range(len(captions))]


class StepBatches:
    """The micro-batches of one step: `len` of them, each made as the iteration reaches it."""

    def __init__(self, loader: Loader, epoch: int, step: int) -> None:
        self._loader, self._epoch, self._step = loader, epoch, step

    def __len__(self) -> int:
        return len(self._loader.plan.epoch(self._epoch)[self._step].ranks[self._loader.rank])

    def __iter__(self) -> Iterator[Batch]:
        return (self._loader.batch(self._epoch, self._step, index) for index in range(len(self)))


def _cached(cache: Cache, kind: Kind, key: str) -> dict[str, Tensor]:
    tensors = cache.get(kind, key)
    if tensors is None:
        raise OchreError(
            f"{cache.path(kind, key)} is gone from the cache, or broken.",
            "Something deleted or changed it during the run.",
            "Start the run again; what is missing is then encoded anew.",
        )
    return tensors
