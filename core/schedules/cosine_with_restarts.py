"""The rate falls along half a cosine several times, and jumps back between."""

import math
from typing import ClassVar, Literal

from core.settings import setting
from core.settings.bases import ScheduleConfig


class CosineWithRestarts(ScheduleConfig):
    """A cosine in each of several cycles of equal length: (1 + cos(pi (cycles x mod 1))) / 2.

    SGDR, Loshchilov and Hutter 2017, equation 5, with cycles that don't grow.
    """

    label: ClassVar[str] = "Cosine with restarts"

    name: Literal["cosine_with_restarts"] = "cosine_with_restarts"
    cycles: int = setting(
        3, "Cycles", "How often the rate falls.", ge=1, le=1000, also=("lr_scheduler_num_cycles", "num_cycles")
    )
    minimum: float = setting(
        0.0, "Minimum", "Share of the rate that is left at the end of a cycle.", ge=0, le=1, level="advanced"
    )

    def after_warmup(self, step: int, total: int) -> float:
        done = (self.cycles * step / total) % 1 if step < total else 1.0
        return self.minimum + (1 - self.minimum) * (1 + math.cos(math.pi * done)) / 2
