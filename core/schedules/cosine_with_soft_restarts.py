"""The rate falls and rises along a cosine."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, Literal

from core.errors import Problem
from core.schedules._minimum import Falling
from core.settings import setting
from core.settings.bases.schedule import RunLength


class CosineWithSoftRestarts(Falling):
    """A wave: rises again as slowly as it fell, (1 + cos((2 cycles - 1) pi x)) / 2.

    What OneTrainer calls COSINE_WITH_RESTARTS; its cycles count the restarts, which are one less than how often the
    rate falls. It is also transformers' `cosine_with_min_lr` with several cycles: kohya's number of
    cycles counts the falls and the rises, 2 cycles - 1.
    """

    label: ClassVar[str] = "Cosine with restarts (soft)"
    programs_call_it: ClassVar[tuple[str, ...]] = ("COSINE_WITH_RESTARTS", "cosine_with_min_lr")

    name: Literal["cosine_with_soft_restarts"] = "cosine_with_soft_restarts"
    cycles: int = setting(
        2,
        "Cycles",
        "How often the rate falls. OneTrainer counts how often it rises again: one less.",
        ge=1,
        le=1000,
        also=("lr_scheduler_num_cycles", "learning_rate_cycles", "num_cycles"),
    )

    def check_length(self, length: RunLength) -> Iterator[Problem]:
        yield from super().check_length(length)
        left = length.steps - self.warmup(length.steps)
        if 0 < left < 2 * self.cycles - 1:
            message = f"{self.cycles} cycles don't fit into the {left} steps after the warm-up"
            yield Problem("cycles", f"{message}; take fewer, or train longer", {"cycles": 1})

    def shape(self, step: int, total: int) -> float:
        return (1 + math.cos((2 * self.cycles - 1) * math.pi * min(1.0, step / total))) / 2
