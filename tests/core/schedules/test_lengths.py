"""What doesn't fit into a run is told before it starts, with a replacement that fits."""

from __future__ import annotations

import pytest

from core.schedules.constant import Constant
from core.schedules.cosine_with_restarts import CosineWithRestarts
from core.schedules.cosine_with_soft_restarts import CosineWithSoftRestarts
from core.schedules.piecewise import Piecewise
from core.schedules.rex_with_restarts import RexWithRestarts
from core.schedules.warmup_stable_decay import WarmupStableDecay
from core.settings.bases import ScheduleConfig
from core.settings.bases.schedule import RunLength

RUN = RunLength(100, 2, 50)

TOO_LONG: list[tuple[ScheduleConfig, str, str]] = [
    (Constant(warmup_steps=100), "warmup_steps", "takes 100 of the 100 steps"),
    (Constant(warmup_steps=300), "warmup_steps", "takes 300 of the 100 steps"),
    (Constant(warmup_fraction=0.999), "warmup_fraction", "takes 100 of the 100 steps"),
    (CosineWithRestarts(cycles=101), "cycles", "101 cycles don't fit into 100 steps"),
    (CosineWithRestarts(cycles=5, warmup_steps=20, repeat_warmup=True), "cycles", "don't fit"),
    (RexWithRestarts(first_cycle_steps=101), "first_cycle_steps", "101 steps, but the run has 100"),
    (RexWithRestarts(first_cycle_steps=20, warmup_steps=20), "first_cycle_steps", "leaves nothing"),
    (CosineWithSoftRestarts(cycles=51), "cycles", "51 cycles don't fit"),
    (WarmupStableDecay(warmup_steps=50, decay_steps=51), "decay_steps", "warm-up of 50 and a decay of 51"),
    (WarmupStableDecay(warmup_fraction=0.5, decay_fraction=0.6), "decay_fraction", "of 50 and a decay of 60"),
    (Piecewise(rules="1:100, 0.5"), "rules", "step 100 is not before the end"),
    (Piecewise(rules="1:60, 0.5:40%, 0.1"), "rules", "before earlier ones"),
]

FITTING: list[ScheduleConfig] = [
    Constant(warmup_steps=99),
    CosineWithRestarts(cycles=100),
    CosineWithRestarts(cycles=5, warmup_steps=19, repeat_warmup=True),
    RexWithRestarts(first_cycle_steps=100, warmup_steps=99),
    CosineWithSoftRestarts(cycles=50),
    WarmupStableDecay(warmup_steps=50, decay_steps=50),
    Piecewise(rules="1:99, 0.5"),
    Piecewise(rules="1:30, 0.5:40%, 0.1"),
    Piecewise(rules="0.5"),
]


@pytest.mark.parametrize(("schedule", "path", "words"), TOO_LONG, ids=lambda value: str(value)[:40])
def test_what_does_not_fit_is_named(schedule: ScheduleConfig, path: str, words: str) -> None:
    (problem,) = schedule.check_length(RUN)
    assert problem.path == path and words in problem.message
    if problem.replacement:
        replaced = type(schedule)(**{**schedule.model_dump(), **problem.replacement})
        assert list(replaced.check_length(RUN)) == []


@pytest.mark.parametrize("schedule", FITTING, ids=lambda value: str(value)[:40])
def test_what_just_fits_is_no_problem(schedule: ScheduleConfig) -> None:
    assert list(schedule.check()) == list(schedule.check_length(RUN)) == []


def test_a_warm_up_that_is_repeated_must_be_there() -> None:
    assert [problem.path for problem in CosineWithRestarts(repeat_warmup=True).check()] == ["repeat_warmup"]


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ("", "'nothing' is not a factor"),
        ("1:10", "the last rule is a factor alone"),
        ("1, 0.5", "'1' has no step"),
        ("1:0, 0.5", "0 is no step"),
        ("1:2.5, 0.5", "2.5 is no step"),
        ("1:ten, 0.5", "'ten' is not a step"),
        ("1:100%, 0.5", "100% is not within the run"),
        ("x:10, 0.5", "'x' is not a factor"),
        ("-1:10, 0.5", "'-1' is not a factor"),
        ("1:10, nan", "'nan' is not a factor"),
        ("1:10, 0.5:5, 0.1", "the steps must rise"),
        ("1:50%, 0.5:50%, 0.1", "the steps must rise"),
    ],
)
def test_rules_that_say_nothing_are_named(rules: str, words: str) -> None:
    (problem,) = Piecewise(rules=rules).check()
    assert problem.path == "rules" and words in problem.message
