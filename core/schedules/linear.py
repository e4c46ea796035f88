"""The rate falls along a straight line."""

from typing import ClassVar, Literal

from core.settings import setting
from core.settings.bases import ScheduleConfig


class Linear(ScheduleConfig):
    """Falls evenly from the full rate to the minimum: 1 - x."""

    label: ClassVar[str] = "Linear"

    name: Literal["linear"] = "linear"
    minimum: float = setting(
        0.0, "Minimum", "Share of the rate that is left at the end.", ge=0, le=1, level="advanced", also=("min_factor",)
    )

    def after_warmup(self, step: int, total: int) -> float:
        return self.minimum + (1 - self.minimum) * max(0, total - step) / total
