"""Encodes what the cache lacks: reading on threads ahead, encoding on the calling one, writing on one behind."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import chain
from types import TracebackType

from torch import Tensor

from core.contracts import Size
from core.dataset.cache import Cache, Kind
from core.dataset.encoders import ImageEncoder, TextEncoder, chunks, encode_captions, encode_pictures
from core.dataset.pixels import Pixels, read_together
from core.dataset.read_ahead import read_ahead
from core.dataset.views import Shown
from core.devices import cores
from core.errors import OchreError

Report = Callable[[int, int], None]

READERS = 8
"""Threads that read pictures at most; no more than the machine has cores."""

_MEMORY = 2**30  # bytes that pictures being read and pixels read ahead may take
_MOST = 64  # groups that are read ahead at most, however small they are
_GROUP = 16  # pictures that are read in one go at most


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

    def read(group: Sequence[tuple[str, Shown]]) -> list[Pixels | OchreError | None]:
        """None: another run has encoded it meanwhile."""
        wanted = {key: shown for key, shown in group if not cache.has("latents", key)}
        found = dict(zip(wanted, _read(list(wanted.values())), strict=True))
        return [found.get(key) for key, _ in group]

    threads, groups = min(READERS, cores()), _groups(batches)
    with closing(read_ahead(read, groups, _MEMORY, threads, _memory_of)) as ahead, _Writer(cache) as writer:
        pixels = chain.from_iterable(ahead)
        for batch in batches:
            if should_stop():
                return False
            made: dict[str, Shown] = {}
            pictures: list[Pixels] = []
            for (key, shown), found in zip(batch, pixels, strict=False):
                if isinstance(found, OchreError):
                    raise found
                if found is not None:
                    made[key] = shown
                    pictures.append(found)
            encoded = encode_pictures(pictures, list(made.values()), encoder)
            writer.put("latents", dict(zip(made, encoded, strict=True)))
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
            writer.put("text", dict(zip((key for key, _ in chunk), encoded, strict=True)))
            done += len(chunk)
            report(done, len(keys))
    return True


def _batches(missing: Iterable[tuple[str, Shown]], size: int) -> list[Sequence[tuple[str, Shown]]]:
    """Batches of one bucket each; the views of one file follow one another."""
    buckets: defaultdict[Size, list[tuple[str, Shown]]] = defaultdict(list)
    for pair in missing:
        buckets[pair[1].view.bucket].append(pair)
    return [
        batch
        for pairs in buckets.values()
        for batch in chunks(sorted(pairs, key=lambda pair: pair[1].entry.path), size)
    ]


def _read(shown: Sequence[Shown]) -> list[Pixels] | list[Pixels | OchreError]:
    """What is wrong with a picture comes in its place, so that those before it are encoded."""
    try:
        return read_together(shown)
    except OchreError as error:
        if len(shown) == 1:
            return [error]
    return [found for one in shown for found in _read([one])]


def _groups(batches: Iterable[Sequence[tuple[str, Shown]]]) -> Iterator[list[tuple[str, Shown]]]:
    """All pairs in order, as many together as a thread reads in one go: large files alone, but all views of one."""
    group: list[tuple[str, Shown]] = []
    for pair in chain.from_iterable(batches):
        other = group and group[-1][1].entry.path != pair[1].entry.path
        if len(group) == _GROUP or (other and _memory_of([*group, pair]) > _MEMORY // _MOST):
            yield group
            group = []
        group.append(pair)
    if group:
        yield group


def _memory_of(group: Sequence[tuple[str, Shown]]) -> int:
    """Bytes that a group takes while it is read: the decoded pictures, and pixels and mask of each view."""
    whole = {shown.entry.path: 3 * shown.entry.size.area for _, shown in group}
    return max(sum(whole.values()) + sum(16 * shown.view.bucket.area for _, shown in group), _MEMORY // _MOST)


class _Writer:
    """Writes entries on a thread, few batches waiting. What goes wrong is raised at a later one, or at the end."""

    WAITING = 8

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="cache-writer")
        self._pending: deque[Future[None]] = deque()

    def put(self, kind: Kind, entries: Mapping[str, Mapping[str, Tensor]]) -> None:
        self._pending.append(self._pool.submit(self._write, kind, entries))
        while len(self._pending) > self.WAITING or (self._pending and self._pending[0].done()):
            self._pending.popleft().result()

    def _write(self, kind: Kind, entries: Mapping[str, Mapping[str, Tensor]]) -> None:
        for key, tensors in entries.items():
            self._cache.put(kind, key, tensors)

    def __enter__(self) -> _Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)
        if error is None:
            for future in self._pending:
                future.result()
