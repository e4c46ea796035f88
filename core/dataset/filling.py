"""Encodes what the cache lacks: reading on threads ahead, encoding on the calling one, writing on one behind."""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from types import TracebackType

from torch import Tensor

from core.contracts import Size
from core.dataset.cache import Cache, Kind
from core.dataset.encoders import ImageEncoder, TextEncoder, chunks, encode_captions, encode_pictures
from core.dataset.pixels import Pixels, read_pixels
from core.dataset.read_ahead import read_ahead
from core.dataset.views import Shown

Report = Callable[[int, int], None]

READERS = 8
"""Threads that read pictures at most; no more than the machine has cores."""

_MEMORY = 512 * 2**20  # bytes of pixels that may be read ahead


def fill_latents(
    wanted: Iterable[Shown],
    cache: Cache,
    encoder: ImageEncoder,
    report: Report = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Encode the pictures that the cache lacks. False where `should_stop` ended it early.

    `report` is told how many are there, and of how many. PictureError for a picture that changed since it was looked
    at; TrainingError where the VAE gives values that are not finite; OchreError where the cache can't be written.
    What was encoded before stays, so that the next pass goes on from there.
    """
    keys = {encoder.key(shown): shown for shown in wanted}
    missing = [(key, shown) for key, shown in keys.items() if not cache.has("latents", key)]
    done = len(keys) - len(missing)
    report(done, len(keys))
    batches = _batches(missing, encoder.batch_size)

    def read(pair: tuple[str, Shown]) -> Pixels | None:
        """None: another run has encoded it meanwhile."""
        key, shown = pair
        return None if cache.path("latents", key).exists() and cache.has("latents", key) else read_pixels(shown)

    in_order, (ahead, threads) = [pair for batch in batches for pair in batch], _width(batches, encoder.batch_size)
    with closing(read_ahead(read, in_order, ahead, threads)) as pixels, _Writer(cache) as writer:
        for batch in batches:
            if should_stop():
                return False
            made = [(key, shown, picture) for key, shown in batch if (picture := next(pixels)) is not None]
            encoded = encode_pictures([picture for *_, picture in made], [shown for _, shown, _ in made], encoder)
            for (key, *_), tensors in zip(made, encoded, strict=True):
                writer.put("latents", key, tensors)
            done += len(batch)
            report(done, len(keys))
    return True


def fill_text(
    captions: Iterable[str],
    cache: Cache,
    encoder: TextEncoder,
    report: Report = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Encode the captions that the cache lacks; as `fill_latents`. Their order is their alphabetical one."""
    keys = {encoder.key(caption): caption for caption in sorted(captions)}
    missing = [(key, caption) for key, caption in keys.items() if not cache.has("text", key)]
    done = len(keys) - len(missing)
    report(done, len(keys))
    with _Writer(cache) as writer:
        for chunk in chunks(missing, encoder.batch_size):
            if should_stop():
                return False
            encoded = encode_captions([caption for _, caption in chunk], encoder)
            for (key, _), tensors in zip(chunk, encoded, strict=True):
                writer.put("text", key, tensors)
            done += len(chunk)
            report(done, len(keys))
    return True


def _batches(missing: Iterable[tuple[str, Shown]], size: int) -> list[Sequence[tuple[str, Shown]]]:
    """Batches of one bucket each; what is cut from one file stays together, so that it is read once."""
    buckets: defaultdict[Size, list[tuple[str, Shown]]] = defaultdict(list)
    for pair in missing:
        buckets[pair[1].view.bucket].append(pair)
    return [
        batch
        for pairs in buckets.values()
        for batch in chunks(sorted(pairs, key=lambda pair: pair[1].entry.path), size)
    ]


def _width(batches: Sequence[Sequence[tuple[str, Shown]]], batch_size: int) -> tuple[int, int]:
    """How many pictures are read ahead (two batches and what the threads hold, or what fits), on how many threads."""
    threads = min(READERS, cores())
    largest = max((12 * batch[0][1].view.bucket.area for batch in batches), default=1)
    return max(batch_size, min(2 * batch_size + threads, _MEMORY // largest)), threads


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Writer:
    """Writes entries on a thread, few of them waiting. What goes wrong is raised at a later entry, or at the end."""

    WAITING = 32

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="cache-writer")
        self._pending: deque[Future[None]] = deque()

    def put(self, kind: Kind, key: str, tensors: Mapping[str, Tensor]) -> None:
        self._pending.append(self._pool.submit(self._cache.put, kind, key, tensors))
        while len(self._pending) > self.WAITING or (self._pending and self._pending[0].done()):
            self._pending.popleft().result()

    def __enter__(self) -> _Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)
        if error is None:
            for future in self._pending:
                future.result()
