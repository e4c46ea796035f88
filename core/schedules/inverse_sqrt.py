"""The rate falls with the root of the steps."""

import math
from typing import ClassVar, Literal

from core.settings import setting
from core.settings.bases import ScheduleConfig


class InverseSqrt(ScheduleConfig):
    """Falls fast at first and ever more slowly, without an end: sqrt(timescale / (timescale + s)), s after the warm-up.

    transformers' `inverse_sqrt`. It doesn't depend on the length of the run.
    """

    label: ClassVar[str] = "Inverse square root"
    programs_call_it: ClassVar[tuple[str, ...]] = ("inverse_sqrt",)

    name: Literal["inverse_sqrt"] = "inverse_sqrt"
    timescale: int = setting(
        0,
        "Time scale",
        "After three times as many steps the rate is half. 0: as long as the warm-up, or 10000 without one.",
        ge=0,
        unit="steps",
        also=("lr_scheduler_timescale",),
    )

    def after_warmup(self, step: int, total: int, warmup: int) -> float:
        scale = self.timescale or warmup or 10_000
        return math.sqrt(scale / (scale + step))
