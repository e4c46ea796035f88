"""Schedules against their formulas, and against diffusers', transformers' and torch's where conventions are the same.

diffusers and transformers warm up from a rate of 0, so that their first step does nothing; ours begins at 1 / (n + 1).
After the warm-up both are equal.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from diffusers.optimization import get_cosine_schedule_with_warmup, get_scheduler
from pytorch_optimizer.lr_scheduler.rex import REXScheduler
from transformers.optimization import get_scheduler as get_transformers_scheduler

from core.schedules.constant import Constant
from core.schedules.cosine import Cosine
from core.schedules.cosine_with_restarts import CosineWithRestarts
from core.schedules.cosine_with_soft_restarts import CosineWithSoftRestarts
from core.schedules.inverse_sqrt import InverseSqrt
from core.schedules.linear import Linear
from core.schedules.piecewise import Piecewise
from core.schedules.polynomial import Polynomial
from core.schedules.rex import Rex
from core.schedules.rex_with_restarts import RexWithRestarts
from core.schedules.warmup_stable_decay import WarmupStableDecay
from core.settings.bases import ScheduleConfig

TOTAL = 120


def _optimizer(rate: float = 1.0) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)


def _run(scheduler: Any, optimizer: torch.optim.Optimizer) -> list[float]:
    factors = []
    for _ in range(TOTAL):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return factors


def _diffusers(name: str, warmup: int, **more: Any) -> list[float]:
    optimizer = _optimizer()
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=TOTAL, **more)
    return _run(scheduler, optimizer)


def _transformers(name: str, warmup: int, **more: Any) -> list[float]:
    optimizer = _optimizer()
    scheduler = get_transformers_scheduler(name, optimizer, warmup, TOTAL, scheduler_specific_kwargs=more)
    return _run(scheduler, optimizer)


def _ours(schedule: ScheduleConfig, total: int = TOTAL) -> list[float]:
    return [schedule.factor(step, total) for step in range(total)]


DIFFUSERS: list[tuple[ScheduleConfig, str, dict[str, Any]]] = [
    (Constant(), "constant", {}),
    (Constant(warmup_steps=10), "constant_with_warmup", {}),
    (Linear(), "linear", {}),
    (Linear(warmup_steps=10), "linear", {}),
    (Cosine(), "cosine", {}),
    (Cosine(warmup_steps=10), "cosine", {}),
    (CosineWithRestarts(cycles=1), "cosine_with_restarts", {"num_cycles": 1}),
    (CosineWithRestarts(cycles=3), "cosine_with_restarts", {"num_cycles": 3}),
    (CosineWithRestarts(cycles=4, warmup_steps=11), "cosine_with_restarts", {"num_cycles": 4}),
    (Polynomial(power=1), "polynomial", {"power": 1}),
    (Polynomial(power=2.5, minimum=1e-7, warmup_steps=7), "polynomial", {"power": 2.5}),
    (Piecewise(rules="1:100,0.5:110,0.1"), "piecewise_constant", {"step_rules": "1:100,0.5:110,0.1"}),
    (Piecewise(rules="0.25:3, 2:60, 0"), "piecewise_constant", {"step_rules": "0.25:3,2:60,0"}),
    (Piecewise(rules="1:50%, 0.2:75%, 0.1"), "piecewise_constant", {"step_rules": "1:60,0.2:90,0.1"}),
]


@pytest.mark.parametrize(("schedule", "name", "more"), DIFFUSERS, ids=lambda value: str(value)[:40])
def test_as_diffusers_does_after_the_warm_up(schedule: ScheduleConfig, name: str, more: dict[str, Any]) -> None:
    warmup = schedule.warmup_steps
    if "power" in more:  # its end is 1e-7 for all that
        schedule = schedule.model_copy(update={"minimum": 1e-7})
    ours = _ours(schedule)
    assert ours[warmup:] == pytest.approx(_diffusers(name, warmup, **more)[warmup:], abs=1e-12)
    assert ours[:warmup] == pytest.approx([(step + 1) / (warmup + 1) for step in range(warmup)], abs=1e-15)


def _wsd(**more: Any) -> dict[str, Any]:
    return {"num_decay_steps": 30, "decay_type": "linear", **more}


TRANSFORMERS: list[tuple[ScheduleConfig, str, dict[str, Any]]] = [
    (InverseSqrt(warmup_steps=10), "inverse_sqrt", {}),
    (InverseSqrt(), "inverse_sqrt", {}),
    (InverseSqrt(timescale=50), "inverse_sqrt", {"timescale": 50}),
    (InverseSqrt(timescale=3, warmup_steps=20), "inverse_sqrt", {"timescale": 3}),
    (Cosine(minimum=0.1, warmup_steps=5), "cosine_with_min_lr", {"min_lr_rate": 0.1}),
    (
        CosineWithSoftRestarts(cycles=2, minimum=0.1),
        "cosine_with_min_lr",
        {"min_lr_rate": 0.1, "num_cycles": 1.5},
    ),
    (WarmupStableDecay(decay_steps=30), "warmup_stable_decay", _wsd()),
    (WarmupStableDecay(decay_fraction=0.25, minimum=0.3), "warmup_stable_decay", _wsd(min_lr_ratio=0.3)),
    (
        WarmupStableDecay(decay_steps=30, decay_shape="cosine", warmup_steps=13),
        "warmup_stable_decay",
        _wsd(decay_type="cosine"),
    ),
    (
        WarmupStableDecay(decay_fraction=0.25, decay_shape="1-sqrt", minimum=0.05, warmup_fraction=0.1),
        "warmup_stable_decay",
        _wsd(decay_type="1-sqrt", min_lr_ratio=0.05),
    ),
    (WarmupStableDecay(decay_fraction=1), "warmup_stable_decay", _wsd(num_decay_steps=120)),
]


@pytest.mark.parametrize(("schedule", "name", "more"), TRANSFORMERS, ids=lambda value: str(value)[:40])
def test_as_transformers_does_after_the_warm_up(schedule: ScheduleConfig, name: str, more: dict[str, Any]) -> None:
    warmup = schedule.warmup(TOTAL)
    assert _ours(schedule)[warmup:] == pytest.approx(_transformers(name, warmup, **more)[warmup:], abs=1e-12)


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
    factors = _ours(schedule)
    assert [step for step in range(TOTAL) if factors[step] == 1] == [0, 40, 80]
    assert factors[39] < 0.21 and min(factors) >= 0.2


@pytest.mark.parametrize(
    ("total", "cycles"), [(15, 2), (15, 7), (49, 3), (101, 2), (101, 7), (1000, 3), (1000, 7), (98, 49)]
)
def test_no_restart_is_a_step_late(total: int, cycles: int) -> None:
    """In floating point 49 x (2 / 98) is a little under 1, and diffusers' jump a step late; ours counts whole steps."""
    factors = _ours(CosineWithRestarts(cycles=cycles), total)
    rises = [step for step in range(1, total) if factors[step] > factors[step - 1]]
    assert rises == [math.ceil(cycle * total / cycles) for cycle in range(1, cycles)]


def test_soft_restarts_are_diffusers_cosine_of_several_waves() -> None:
    """It counts whole waves, of which half a one is one fall. Its get_scheduler doesn't pass the number on."""
    optimizer = _optimizer()
    theirs = _run(get_cosine_schedule_with_warmup(optimizer, 9, TOTAL, num_cycles=2.5), optimizer)
    assert _ours(CosineWithSoftRestarts(cycles=3, warmup_steps=9))[9:] == pytest.approx(theirs[9:], abs=1e-12)


@pytest.mark.parametrize("restarts", [1, 2, 5])
def test_soft_restarts_are_onetrainers_wave(restarts: int) -> None:
    """OneTrainer's COSINE_WITH_RESTARTS: (1 + cos((2 n + 1) pi x)) / 2, with a minimum factor of 0.1."""
    expected = [0.1 + 0.9 * 0.5 * (1 + math.cos((2 * restarts + 1) * step / TOTAL * math.pi)) for step in range(TOTAL)]
    assert _ours(CosineWithSoftRestarts(cycles=restarts + 1, minimum=0.1)) == pytest.approx(expected, abs=1e-12)


def test_rex_is_onetrainers_and_the_papers() -> None:
    """OneTrainer: (1 - x) / (0.1 + 0.9 (1 - x)). The paper, and pytorch_optimizer: (1 - x) / (1/2 + 1/2 (1 - x))."""
    onetrainers = [(1 - s / TOTAL) / (0.1 + 0.9 * (1 - s / TOTAL)) for s in range(TOTAL)]
    assert _ours(Rex()) == pytest.approx(onetrainers, abs=1e-12)
    optimizer = _optimizer()
    scheduler = REXScheduler(optimizer, TOTAL)
    theirs = [1.0, *(scheduler.step() for _ in range(TOTAL - 1))]  # its constructor takes the first step
    assert _ours(Rex(d=0.5)) == pytest.approx(theirs, abs=1e-12)
    assert Rex().factor(TOTAL, TOTAL) == 0 and Rex(minimum=0.2).factor(TOTAL, TOTAL) == pytest.approx(0.2)


def _rawr(first: int, warmup: int, gamma: float, multiplier: float, minimum: float, d: float) -> list[float]:
    """RexAnnealingWarmRestarts of LoRA_Easy_Training_scripts, written out; None where it warms up."""
    rates: list[Any] = []
    cycle, length = 0, first
    while len(rates) < TOTAL:
        peak = gamma**cycle
        for step in range(length):
            done = (step - warmup) / (length - warmup)
            low = peak <= minimum
            rates.append(
                None
                if step < warmup
                else minimum
                if low
                else minimum + (peak - minimum) * (1 - done) / ((1 - d) + d * (1 - done))
            )
        cycle, length = cycle + 1, round((length - warmup) * multiplier) + warmup
    return rates[:TOTAL]


@pytest.mark.parametrize(
    ("warmup", "gamma", "multiplier", "minimum"),
    [(0, 0.9, 1.0, 0.0), (0, 0.5, 1.5, 0.3), (5, 0.9, 1.0, 0.01), (4, 0.8, 1.3, 0.1), (3, 0.7, 0.6, 0.0)],
)
def test_rex_with_restarts_is_rawr(warmup: int, gamma: float, multiplier: float, minimum: float) -> None:
    schedule = RexWithRestarts(
        first_cycle_steps=25,
        warmup_steps=warmup,
        repeat_warmup=warmup > 0,
        gamma=gamma,
        cycle_multiplier=multiplier,
        minimum=minimum,
    )
    expected, ours = _rawr(25, warmup, gamma, multiplier, minimum, 0.9), _ours(schedule)
    pairs = [(a, b) for a, b in zip(ours, expected, strict=True) if b is not None]
    assert [a for a, _ in pairs] == pytest.approx([b for _, b in pairs], abs=1e-12)
    if warmup:  # each warm-up rises in equal steps from above the minimum to the cycle's peak
        again = [step for step in range(25, TOTAL) if expected[step] is None][:warmup]
        rises = [(place + 1) / (warmup + 1) for place in range(warmup)]
        assert [ours[step] for step in again] == pytest.approx([minimum + (gamma - minimum) * rise for rise in rises])


@pytest.mark.parametrize(("first", "multiplier"), [(10, 1), (10, 2), (7, 3)])
def test_growing_cycles_are_torchs(first: int, multiplier: int) -> None:
    optimizer = _optimizer()
    theirs = _run(
        torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, first, multiplier, eta_min=0.1), optimizer
    )
    ours = _ours(CosineWithRestarts(first_cycle_steps=first, cycle_multiplier=multiplier, minimum=0.1))
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_cycles_that_grow_fill_the_run() -> None:
    """Lengths 1 : 2 : 4 of 70 steps after the warm-up are 10, 20 and 40, with a warm-up of 10 before each."""
    schedule = CosineWithRestarts(cycles=3, cycle_multiplier=2, warmup_steps=10, repeat_warmup=True, gamma=0.5)
    factors = [schedule.factor(step, 100) for step in range(100)]
    peaks = [step for step in range(1, 99) if factors[step - 1] < factors[step] > factors[step + 1]]
    assert peaks == [10, 30, 60]
    assert [factors[step] for step in peaks] == pytest.approx([1, 0.5, 0.25])
    assert factors[20] == pytest.approx(0.5 / 11) and factors[19] == pytest.approx((1 + math.cos(0.9 * math.pi)) / 2)
    assert schedule.factor(100, 100) == 0
