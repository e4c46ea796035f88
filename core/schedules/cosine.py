"""The rate falls along half a cosine."""

import math
from typing import ClassVar, Literal

from core.settings import setting
from core.settings.bases import ScheduleConfig


class Cosine(ScheduleConfig):
    """Falls slowly at first, fast in the middle, slowly at the end: (1 + cos(pi x)) / 2.

    SGDR, Loshchilov and Hutter 2017, equation 5, with one cycle.
    """

    label: ClassVar[str] = "Cosine"

    name: Literal["cosine"] = "cosine"
    minimum: float = setting(
        0.0,
        "Minimum",
        "Share of the rate that is left at the end.",
        ge=0,
        le=1,
        level="advanced",
        also=("lr_scheduler_min_lr_ratio",),
    )

    def after_warmup(self, step: int, total: int) -> float:
        done = min(1.0, step / total)
        return self.minimum + (1 - self.minimum) * (1 + math.cos(math.pi * done)) / 2
