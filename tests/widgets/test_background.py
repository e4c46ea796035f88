"""Work on a thread: the loop goes on meanwhile, and only the latest work is heard of."""

from __future__ import annotations

import asyncio
import threading

from widgets.background import Background, told_on_loop


def test_the_loop_goes_on_and_only_the_latest_work_is_heard_of() -> None:
    heard: list[str] = []
    gates = {"first": threading.Event(), "second": threading.Event()}

    def work(name: str) -> str:
        assert gates[name].wait(10)
        return name

    async def session() -> None:
        background = Background()
        background.do(lambda: work("first"), heard.append)
        background.do(lambda: work("second"), heard.append)
        gates["second"].set()
        while not heard:
            await asyncio.sleep(0.01)
        gates["first"].set()
        await asyncio.gather(*background._tasks)

    asyncio.run(session())
    assert heard == ["second"]


def test_without_a_loop_it_is_done_at_once() -> None:
    heard: list[int] = []
    Background().do(lambda: 3, heard.append)
    assert heard == [3]


def test_progress_is_told_on_the_loop_and_not_too_often() -> None:
    told: list[tuple[int, int, str]] = []

    async def session() -> str:
        tell = told_on_loop(lambda done, total: told.append((done, total, threading.current_thread().name)))
        await asyncio.to_thread(lambda: [tell(done, 1000) for done in range(1000)])
        await asyncio.sleep(0)
        return threading.current_thread().name

    name = asyncio.run(session())
    assert told
    assert len(told) < 100
    assert {thread for _, _, thread in told} == {name}
