"""The base class of schedules: how the learning rate changes over a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from core.errors import Problem
from core.settings.setting import Settings, setting


class ScheduleConfig(Settings):
    """How the learning rate changes over the run: a pure function of the step."""

    label: ClassVar[str]

    name: str
    warmup_steps: int = setting(
        0,
        "Warm-up steps",
        "Steps during which the rate rises from zero to its full value.",
        ge=0,
        unit="steps",
        also=("lr_warmup_steps",),
    )
    warmup_fraction: float = setting(
        0.0,
        "Warm-up fraction",
        "The same as a fraction of all steps, when the number of steps isn't known yet: 0.05 is the first 5 %.",
        ge=0,
        lt=1,
        also=("lr_warmup_ratio",),
    )

    def check(self) -> Iterator[Problem]:
        if self.warmup_steps and self.warmup_fraction:
            yield Problem("warmup_fraction", "give the warm-up in steps or as a fraction, and leave the other at 0")

    def factor(self, step: int, total: int) -> float:
        """What the learning rates are multiplied with at `step` (from 0) of `total` steps."""
        warmup = self.warmup(total)
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return self.after_warmup(step - warmup, max(1, total - warmup))

    def warmup(self, total: int) -> int:
        """Steps of the warm-up in a run of `total` steps."""
        return self.warmup_steps or round(self.warmup_fraction * total)

    def after_warmup(self, step: int, total: int) -> float:
        """The factor at `step` (from 0) of the `total` steps that follow the warm-up."""
        raise NotImplementedError
