"""The base class of schedules: how the learning rate changes over a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from core.errors import Problem
from core.settings.bases.optimizer import OptimizerConfig
from core.settings.setting import Settings, setting


@dataclass(frozen=True)
class RunLength:
    """How long a run is. steps: of the whole run, at least 1. steps_per_epoch: of its first epoch."""

    steps: int
    epochs: int = 1
    steps_per_epoch: int = 0


class ScheduleConfig(Settings):
    """How the learning rate changes over the run: a pure function of the step, so that a resumed run goes on alike.

    The warm-up is every schedule's: step s (from 0) of n has the factor (s + 1) / (n + 1). kohya, diffusers and
    transformers begin at s / n, so that their first step has the rate 0 and changes nothing.
    """

    label: ClassVar[str]
    programs_call_it: ClassVar[tuple[str, ...]] = ()
    stays: ClassVar[bool] = False
    """Whether the rate stays as it is after the warm-up."""

    name: str
    warmup_steps: int = setting(
        0,
        "Warm-up steps",
        "Steps during which the rate rises from zero to its full value.",
        ge=0,
        unit="steps",
        also=("lr_warmup_steps", "learning_rate_warmup_steps"),
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

    def check_optimizer(self, optimizer: OptimizerConfig) -> Iterator[Problem]:
        """Problems with an optimizer that does a schedule's work itself; paths are those of the whole config.

        Schedule-free optimizers average the weights instead of lowering the rate, and are proven for a constant one;
        a warm-up is what they want (The Road Less Scheduled, Defazio et al. 2024, sections 2 and 4.3).
        """
        warmup = {"warmup_steps": self.warmup_steps, "warmup_fraction": self.warmup_fraction}
        if optimizer.keeps_own_rate() and (not self.stays or any(warmup.values())):
            message = f"would have no effect: {optimizer.label} (optimizer.name) sets its rate by itself, as it is set"
            message += "; take the constant one, without a warm-up"
            yield Problem("schedule.name", message, {"schedule": {"name": "constant"}})
        elif optimizer.averages_weights() and not self.stays:
            message = f"lowers the rate, and {optimizer.label} (optimizer.name) averages the weights instead of that"
            constant = {"name": "constant", **{name: value for name, value in warmup.items() if value}}
            yield Problem("schedule.name", f"{message}; take the constant one", {"schedule": constant})

    def check_length(self, length: RunLength) -> Iterator[Problem]:
        """Problems with a run of this length; paths and replacements are relative to the schedule."""
        total, warmup = length.steps, self.warmup(length.steps)
        if not warmup or warmup < total:
            return
        name = "warmup_steps" if self.warmup_steps else "warmup_fraction"
        instead = total // 10 if self.warmup_steps else 0.1
        message = f"the warm-up takes {warmup} of the {total} steps, so that the full rate is never reached"
        yield Problem(name, f"{message}; warm up for less, or train longer", {name: instead})

    def rate(self, rate: float, step: int, length: RunLength) -> float:
        """A group's learning rate at `step` (from 0); `rate` is its full one."""
        return rate * self.factor(step, length.steps)

    def factor(self, step: int, total: int) -> float:
        """What the learning rates are multiplied with at `step` (from 0) of `total` steps."""
        warmup = self.warmup(total)
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return self.after_warmup(step - warmup, max(1, total - warmup), warmup)

    def warmup(self, total: int) -> int:
        """Steps of the warm-up in a run of `total` steps."""
        return self.warmup_steps or round(self.warmup_fraction * total)

    def after_warmup(self, step: int, total: int, warmup: int) -> float:
        """The factor at `step` (from 0) of the `total` steps that follow the `warmup` steps."""
        raise NotImplementedError
