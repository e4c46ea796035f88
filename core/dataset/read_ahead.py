"""Does the work for the next item on a thread while the last one is in use."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(work: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result]:
    """`work(item)` for each item, in order, one item ahead. An error comes where its result would have come.

    Closing the iterator waits for the item in work and starts no other.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
    try:
        pending: Future[Result] | None = None
        for item in items:
            following = pool.submit(work, item)
            if pending is not None:
                yield pending.result()
            pending = following
        if pending is not None:
            yield pending.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
