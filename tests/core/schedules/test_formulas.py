"""Schedules against their formulas, and against diffusers' where the conventions are the same.

diffusers warms up from a rate of 0, so that its first step does nothing; ours begins at 1 / (n + 1). After the
warm-up both are equal.
"""

from __future__ import annotations

import math

import pytest
import torch
from diffusers.optimization import get_scheduler

from core.schedules.constant import Constant
from core.schedules.cosine import Cosine
from core.schedules.cosine_with_restarts import CosineWithRestarts
from core.schedules.linear import Linear
from core.settings.bases import ScheduleConfig

TOTAL = 120


def _theirs(name: str, warmup: int, cycles: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=TOTAL, num_cycles=cycles)
    factors = []
    for _ in range(TOTAL):
        factors.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return factors


# the number of cycles as diffusers counts it: its cosine takes whole waves, of which half a one is one fall
CASES: list[tuple[ScheduleConfig, str, float]] = [
    (Constant(), "constant", 1),
    (Constant(warmup_steps=10), "constant_with_warmup", 1),
    (Linear(), "linear", 1),
    (Linear(warmup_steps=10), "linear", 1),
    (Cosine(), "cosine", 0.5),
    (Cosine(warmup_steps=10), "cosine", 0.5),
    (CosineWithRestarts(cycles=1), "cosine_with_restarts", 1),
    (CosineWithRestarts(cycles=3), "cosine_with_restarts", 3),
    (CosineWithRestarts(cycles=4, warmup_steps=11), "cosine_with_restarts", 4),
]


@pytest.mark.parametrize(("schedule", "name", "cycles"), CASES, ids=lambda value: str(value)[:40])
def test_as_diffusers_does_at_every_step_after_the_warm_up(schedule: ScheduleConfig, name: str, cycles: float) -> None:
    warmup = schedule.warmup_steps
    theirs = _theirs(name, warmup, cycles)
    ours = [schedule.factor(step, TOTAL) for step in range(TOTAL)]
    assert ours[warmup:] == pytest.approx(theirs[warmup:], abs=1e-12)
    assert ours[:warmup] == pytest.approx([(step + 1) / (warmup + 1) for step in range(warmup)], abs=1e-15)


@pytest.mark.parametrize("minimum", [0.0, 0.1, 1.0])
def test_what_is_left_at_the_end(minimum: float) -> None:
    cosine, linear = Cosine(minimum=minimum), Linear(minimum=minimum)
    for step in range(TOTAL):
        done = step / TOTAL
        expected = minimum + (1 - minimum) * 0.5 * (1 + math.cos(math.pi * done))
        assert cosine.factor(step, TOTAL) == pytest.approx(expected, abs=1e-15)
        assert linear.factor(step, TOTAL) == pytest.approx(minimum + (1 - minimum) * (1 - done), abs=1e-15)
    assert cosine.factor(TOTAL, TOTAL) == linear.factor(TOTAL, TOTAL) == minimum


def test_restarts_jump_back_to_the_full_rate() -> None:
    schedule = CosineWithRestarts(cycles=3, minimum=0.2)
    factors = [schedule.factor(step, TOTAL) for step in range(TOTAL)]
    assert [step for step in range(TOTAL) if factors[step] == 1] == [0, 40, 80]
    assert factors[39] < 0.21 and min(factors) >= 0.2
