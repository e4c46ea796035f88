"""What was made last is kept in bounded memory and made once, however many ask for it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.dataset.recent import Recent


def test_what_was_used_last_is_kept() -> None:
    recent: Recent[str] = Recent(100)
    made: list[str] = []

    def get(key: str) -> str:
        return recent.get(key, lambda: made.append(key) or key.upper(), lambda item: 40)

    assert [get(key) for key in "ababcab"] == list("ABABCAB")
    # a was pushed out by c, b by a
    assert made == list("abcab")
    assert len(recent) == 2


def test_one_too_large_is_kept_alone() -> None:
    recent: Recent[int] = Recent(10)
    for key, size in (("small", 5), ("large", 50)):
        recent.get(key, lambda: 1, lambda item, size=size: size)
    assert len(recent) == 1
    assert recent.get("large", lambda: 2, lambda item: 50) == 1
    recent.clear()
    assert len(recent) == 0
    assert recent.get("large", lambda: 2, lambda item: 50) == 2


def test_several_threads_that_ask_at_once_get_one() -> None:
    recent: Recent[object] = Recent(100)
    start, made = threading.Barrier(8), []

    def make() -> object:
        made.append(object())
        threading.Event().wait(0.05)
        return made[-1]

    def ask(_: int) -> object:
        start.wait()
        return recent.get("key", make, lambda item: 1)

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(ask, range(8)))
    assert len(made) == 1
    assert all(item is made[0] for item in got)


def test_an_error_is_not_kept() -> None:
    recent: Recent[int] = Recent(100)

    def fail() -> int:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        recent.get("key", fail, lambda item: 1)
    assert recent.get("key", lambda: 3, lambda item: 1) == 3


def test_what_is_cleared_while_it_is_made_is_not_kept() -> None:
    recent: Recent[int] = Recent(100)

    def make() -> int:
        recent.clear()
        return 1

    assert recent.get("key", make, lambda item: 1) == 1
    assert len(recent) == 0
