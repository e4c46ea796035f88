"""Does the work for the next items on threads while earlier ones are in use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    ahead: int = 1,
    threads: int = 1,
    cost: Callable[[Item], int] = lambda item: 1,
) -> Generator[Result]:
    """`work(item)` for each item, in order, on threads. An error comes in its result's place.

    ahead: how much the items that are in work, or done and not yet taken, may cost together besides the next one.
    Closing the iterator waits for the items in work and starts no other.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="read-ahead")
    pending: deque[tuple[int, Future[Result]]] = deque()
    total = 0
    try:
        for item in items:
            price = cost(item)
            pending.append((price, pool.submit(work, item)))
            total += price
            while total > ahead and len(pending) > 1:
                price, first = pending.popleft()
                yield first.result()
                total -= price
        while pending:
            yield pending.popleft()[1].result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
