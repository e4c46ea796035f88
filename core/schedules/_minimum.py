"""Schedules that fall from the full rate to a minimum."""

from __future__ import annotations

from core.settings import setting
from core.settings.bases import ScheduleConfig


class Falling(ScheduleConfig):
    """Falls from 1 to the minimum: minimum + (1 - minimum) * shape, where `shape` goes from 1 to 0."""

    minimum: float = setting(
        0.0,
        "Minimum",
        "Share of the rate that is left where the schedule is at its lowest.",
        ge=0,
        le=1,
        level="advanced",
        also=("lr_scheduler_min_lr_ratio", "min_factor", "learning_rate_min_factor", "lr_end", "min_lr", "eta_min"),
    )

    def after_warmup(self, step: int, total: int, warmup: int) -> float:
        return self.minimum + (1 - self.minimum) * self.shape(step, total)

    def shape(self, step: int, total: int) -> float:
        """The factor without a minimum, at `step` (from 0) of `total` steps; 0 at `total` and after it."""
        raise NotImplementedError
