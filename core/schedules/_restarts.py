"""Schedules of several cycles, which may shrink and grow."""

from __future__ import annotations

from collections.abc import Iterator

from core.errors import Problem
from core.settings import setting
from core.settings.bases import ScheduleConfig
from core.settings.bases.schedule import RunLength


class Restarting(ScheduleConfig):
    """Falls in each cycle from the cycle's peak to the minimum, and jumps to the next one's peak.

    Cycle k (from 0) has the peak gamma^k and is cycle_multiplier^k as long as the first. Growing cycles: SGDR,
    Loshchilov and Hutter 2017, section 3; shrinking peaks, a warm-up in each cycle, and cycles counted from the
    first one's length: the restarts of LoRA_Easy_Training_scripts, whose first cycle holds its warm-up, too.
    """

    cycles: int = setting(
        3,
        "Cycles",
        "How often the rate falls.",
        ge=1,
        le=1000,
        shown_if={"first_cycle_steps": [0]},
        also=("lr_scheduler_num_cycles", "num_cycles", "learning_rate_cycles", "num_restarts"),
    )
    minimum: float = setting(
        0.0,
        "Minimum",
        "Share of the full rate that is left at the end of a cycle.",
        ge=0,
        le=1,
        level="advanced",
        also=("lr_scheduler_min_lr_ratio", "min_factor", "learning_rate_min_factor", "min_lr"),
    )
    gamma: float = setting(
        1.0, "Peak of the next cycle", "What each restart multiplies the peak with.", gt=0, le=1, level="advanced"
    )
    cycle_multiplier: float = setting(
        1.0,
        "Length of the next cycle",
        "What each restart multiplies the cycle's length with.",
        gt=0,
        le=100,
        level="advanced",
        also=("T_mult",),
    )
    first_cycle_steps: int = setting(
        0,
        "First cycle",
        "Length of the first cycle with its warm-up; there are then as many cycles as the run allows. 0: the number "
        "of cycles counts.",
        ge=0,
        unit="steps",
        level="advanced",
        also=("first_cycle_max_steps", "T_0"),
    )
    repeat_warmup: bool = setting(
        False, "Warm up in each cycle", "Each cycle begins with the warm-up, not only the first.", level="advanced"
    )

    def check(self) -> Iterator[Problem]:
        yield from super().check()
        if self.repeat_warmup and not (self.warmup_steps or self.warmup_fraction):
            yield Problem("repeat_warmup", "there is no warm-up to repeat; set warmup_steps or warmup_fraction")

    def check_length(self, length: RunLength) -> Iterator[Problem]:
        problems = list(super().check_length(length))
        yield from problems
        total, warmup, first = length.steps, self.warmup(length.steps), self.first_cycle_steps
        if problems:
            return
        if first > total:
            message = f"the first cycle takes {first} steps, but the run has {total}"
            yield Problem("first_cycle_steps", f"{message}; shorten it, or train longer", {"first_cycle_steps": total})
        elif 0 < first <= warmup:
            message = f"the warm-up takes {warmup} steps, which leaves nothing of a first cycle of {first}"
            yield Problem("first_cycle_steps", message, {"first_cycle_steps": 0})
        elif not first and self._left(total - warmup, warmup) < self.cycles:
            message = f"{self.cycles} cycles don't fit into {total} steps"
            yield Problem("cycles", f"{message}; take fewer, or train longer", {"cycles": 1})

    def after_warmup(self, step: int, total: int, warmup: int) -> float:
        cycle, done, warming = self._place(step, total, warmup)
        peak = max(self.minimum, self.gamma**cycle)
        shape = done if warming else self.shape(done)
        return self.minimum + (peak - self.minimum) * shape

    def shape(self, done: float) -> float:
        """The factor of a cycle that is `done` from 0 to 1, falling from 1 to 0."""
        raise NotImplementedError

    def _place(self, step: int, total: int, warmup: int) -> tuple[int, float, bool]:
        """(cycle, from 0; how much of it is done; whether that is of its warm-up) at `step` after the first warm-up."""
        again = warmup if self.repeat_warmup else 0
        if not self.first_cycle_steps:
            if step >= total:
                return self.cycles - 1, 1.0, False
            if self.cycle_multiplier == 1 and not again:  # in whole numbers, so that no jump is a step late
                cycle, rest = divmod(self.cycles * step, total)
                return cycle, rest / total, False
        start = 0.0
        for cycle, length in enumerate(self._lengths(total, warmup)):
            if step < start:
                return cycle, (step - start + again + 1) / (again + 1), True
            if step < start + length:
                return cycle, (step - start) / length, False
            start += length + again
        return self.cycles - 1, 1.0, False

    def _lengths(self, total: int, warmup: int) -> Iterator[float]:
        """Steps of each cycle without its warm-up."""
        if not self.first_cycle_steps:
            first = self._left(total, warmup) / sum(self.cycle_multiplier**cycle for cycle in range(self.cycles))
            yield from (first * self.cycle_multiplier**cycle for cycle in range(self.cycles))
            return
        length = max(1, self.first_cycle_steps - warmup)
        while True:
            yield length
            length = max(1, round(length * self.cycle_multiplier))

    def _left(self, total: int, warmup: int) -> int:
        """Steps of all cycles without their warm-ups, of `total` steps after the first warm-up."""
        return total - (self.cycles - 1) * warmup if self.repeat_warmup else total
