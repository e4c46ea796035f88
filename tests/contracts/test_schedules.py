"""Every schedule stays between 0 and 1, warms up as it says, and gives the same rate whenever it is asked."""

from __future__ import annotations

import pytest

from core.registry import registry

SCHEDULES = registry("schedules").all()


@pytest.mark.parametrize("total", [1, 2, 7, 100])
@pytest.mark.parametrize("name", SCHEDULES)
def test_factors_lie_between_0_and_1(name: str, total: int) -> None:
    for warmup in (0, 1, total, total + 5):
        schedule = SCHEDULES[name](warmup_steps=warmup)
        factors = [schedule.factor(step, total) for step in range(total + 3)]
        assert all(0 <= factor <= 1 for factor in factors), (warmup, factors)
        assert factors[0] > 0, "the first step would be wasted"


@pytest.mark.parametrize("name", SCHEDULES)
def test_warms_up_evenly_from_the_first_step(name: str) -> None:
    schedule = SCHEDULES[name](warmup_steps=4)
    assert [schedule.factor(step, 100) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_fraction_is_that_many_steps(name: str) -> None:
    steps, fraction = SCHEDULES[name](warmup_steps=5), SCHEDULES[name](warmup_fraction=0.05)
    assert [steps.factor(step, 100) for step in range(100)] == [fraction.factor(step, 100) for step in range(100)]


@pytest.mark.parametrize("name", SCHEDULES)
def test_begins_at_the_full_rate_without_a_warm_up(name: str) -> None:
    assert SCHEDULES[name]().factor(0, 50) == 1


@pytest.mark.parametrize("name", SCHEDULES)
def test_steps_and_fraction_together_are_a_problem(name: str) -> None:
    assert [problem.path for problem in SCHEDULES[name](warmup_steps=3, warmup_fraction=0.1).check()] == [
        "warmup_fraction"
    ]
