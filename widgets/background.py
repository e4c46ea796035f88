"""Does work on a thread, lest the page stand still, and what follows from it back on the loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

ResultT = TypeVar("ResultT")
Tell = Callable[[int, int], None]
"""Takes how much is done, and of how much."""

_OFTEN = 0.3
"""Seconds between two words on progress, at least."""


class Background:
    """One piece of work at a time that counts: what was asked for before is done, and not heard of."""

    def __init__(self) -> None:
        self._asked = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def do(self, work: Callable[[], ResultT], then: Callable[[ResultT], None]) -> None:
        """Do the work, and give its result to `then`. Without a running loop, as in a script, it is done at once."""
        self._asked += 1
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            then(work())
            return
        task = loop.create_task(self._do(work, then, self._asked))
        self._tasks.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(self._tasks.discard)

    def forget(self) -> None:
        """What is being done isn't heard of any more."""
        self._asked += 1

    async def _do(self, work: Callable[[], ResultT], then: Callable[[ResultT], None], number: int) -> None:
        result = await asyncio.to_thread(work)
        if number == self._asked:
            then(result)


def told_on_loop(tell: Tell) -> Tell:
    """`tell` for a thread to call: it is called on this loop, and not too often; not at all where no loop runs."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return lambda done, total: None
    last = 0.0

    def tell_now_and_then(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > _OFTEN:
            last = now
            loop.call_soon_threadsafe(tell, done, total)

    return tell_now_and_then
