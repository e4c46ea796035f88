"""Makes the batches of a plan, from the cache or by encoding as they come, reading some ahead on threads."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from core.contracts import Batch, Part
from core.dataset.batches import Draw, Plan
from core.dataset.cache import Cache, Kind
from core.dataset.encoders import ImageEncoder, TextEncoder, encode_captions, encode_pictures
from core.dataset.masks import held_mask, inpainting_controls, loss_mask
from core.dataset.pictures import framing
from core.dataset.pixels import Pixels, read_pixels
from core.dataset.validation import validation_batches
from core.errors import OchreError

AHEAD = 4
"""Batches that are read, or being read, before they are asked for."""

THREADS = 2


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
    """What a thread brings. pictures, encoded: None where they still have to be encoded; pixels: what from."""

    pictures: list[dict[str, Tensor]] | None
    pixels: list[Pixels]
    encoded: list[dict[Part, dict[str, Tensor]]] | None


class Loader:
    """The batches of one process, in any order; quick in the plan's own order, in which some are read ahead.

    Files are read on threads; encoders are only called on the thread that asks for the batch.
    waited: seconds that it was waited for files so far, without the time of encoders.
    """

    def __init__(self, plan: Plan, sources: Sources, rank: int = 0) -> None:
        self.plan, self.sources, self.rank = plan, sources, rank
        self.waited = 0.0
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="batches")
        self._ahead: deque[tuple[_Place, Future[_Read]]] = deque()

    def step(self, epoch: int, step: int) -> StepBatches:
        """The micro-batches of a step of an epoch, both from 0; each is made when it is asked for."""
        return StepBatches(self, epoch, step)

    def batch(self, epoch: int, step: int, batch: int) -> Batch:
        """One micro-batch. Raises what went wrong while it was read."""
        begin = time.perf_counter()
        place = _Place(epoch, step, batch)
        read = self._taken(place).result()
        self.waited += time.perf_counter() - begin
        return self._made(self._draws(place), read)

    @cached_property
    def validation(self) -> dict[int, list[list[Draw]]]:
        """The batches of the pictures that are only measured, by the number of their concept."""
        return validation_batches(self.plan)

    def batch_of(self, draws: Sequence[Draw]) -> Batch:
        """A batch that isn't one of the plan's, such as a validation batch; what is read ahead stays."""
        return self._made(draws, self._read(draws))

    def close(self) -> None:
        """End the threads, once they have finished what they are reading."""
        self._ahead.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # -- reading ahead

    def _taken(self, place: _Place) -> Future[_Read]:
        """What is read for a place; what follows it is being read from now on."""
        if not self._ahead or self._ahead[0][0] != place:
            for _, useless in self._ahead:
                useless.cancel()
            self._ahead.clear()
            self._submit(place)
        _, taken = self._ahead.popleft()
        last = self._ahead[-1][0] if self._ahead else place
        while len(self._ahead) < AHEAD:
            last = self._following(last)
            if last.epoch > place.epoch + 1:  # the plan keeps two epochs
                break
            self._submit(last)
        return taken

    def _submit(self, place: _Place) -> None:
        self._ahead.append((place, self._pool.submit(self._read, self._draws(place))))

    def _draws(self, place: _Place) -> list[Draw]:
        return self.plan.epoch(place.epoch)[place.step].ranks[self.rank][place.batch]

    def _following(self, place: _Place) -> _Place:
        steps = self.plan.epoch(place.epoch)
        if place.batch + 1 < len(steps[place.step].ranks[self.rank]):
            return place._replace(batch=place.batch + 1)
        if place.step + 1 < len(steps):
            return _Place(place.epoch, place.step + 1, 0)
        return _Place(self.plan.next_epoch(place.epoch + 1), 0, 0)

    def _read(self, draws: Sequence[Draw]) -> _Read:
        sources, shown = self.sources, [self.plan.shown(draw) for draw in draws]
        pictures, pixels, encoded = None, [], None
        if sources.latents_cache is None:
            pixels = [read_pixels(one) for one in shown]
        else:
            pictures = [_cached(sources.latents_cache, "latents", sources.images.key(one)) for one in shown]
        if sources.text_cache is not None:
            cache = sources.text_cache
            encoded = [
                {encoder.part: _cached(cache, "text", encoder.key(draw.caption)) for encoder in sources.texts}
                for draw in draws
            ]
        return _Read(pictures, pixels, encoded)

    # -- making a batch

    def _made(self, draws: Sequence[Draw], read: _Read) -> Batch:
        shown, captions = [self.plan.shown(draw) for draw in draws], [draw.caption for draw in draws]
        images = self.sources.images
        pictures = encode_pictures(read.pixels, shown, images) if read.pictures is None else read.pictures
        latents, masks = (
            torch.stack([one["latents"] for one in pictures]).float(),
            [one.get("mask") for one in pictures],
        )
        settings = [one.image for one in shown]
        counting = [mask if draw.masked else None for mask, draw in zip(masks, draws, strict=True)]
        concepts = [self.plan.concepts[one.entry.concept] for one in shown]
        weights = [
            concept.loss_weight * one.entry.weight * draw.counts
            for concept, one, draw in zip(concepts, shown, draws, strict=True)
        ]
        return Batch(
            latents=latents,
            encoded=self._encoded(captions) if read.encoded is None else read.encoded,
            captions=captions,
            framings=[framing(one.entry, one.view) for one in shown],
            weights=torch.tensor(weights, dtype=torch.float32),
            names=[one.entry.name for one in shown],
            kinds=[concept.kind for concept in concepts],
            samples=[draw.sample for draw in draws],
            mask=loss_mask(counting, settings, latents),
            held=held_mask(counting, settings, latents),
            controls=inpainting_controls(masks, [one["conditioning"] for one in pictures]) if images.inpainting else {},
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
            "Start the run again: it goes on from its last backup, and what is missing is encoded anew.",
        )
    return tensors
