"""How fast a run is, told from its latest steps alone: sampling and saving don't count."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

LATEST = 50
"""Steps that the speed is taken from."""


class Speed:
    """Measures steps."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=LATEST)
        self._images: deque[int] = deque(maxlen=LATEST)
        self.trained = 0.0  # seconds of training in this session

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Times what is inside as one step."""
        begin = time.perf_counter()
        yield
        seconds = time.perf_counter() - begin
        self._seconds.append(seconds)
        self.trained += seconds

    def add(self, images: int) -> None:
        """The step had this many pictures."""
        self._images.append(images)

    @property
    def seconds_per_step(self) -> float:
        """Mean over the latest steps."""
        return sum(self._seconds) / len(self._seconds)

    @property
    def images_per_second(self) -> float:
        """Over the latest steps."""
        return sum(self._images) / max(sum(self._seconds), 1e-9)
