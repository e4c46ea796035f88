"""Any class of a schedule: its curve is what torch gives, known in advance; what is wrong is told before the start."""

from __future__ import annotations

import pytest
import torch

from core.schedules.custom import Custom
from core.settings.bases.schedule import RunLength
from core.settings.checks import validate

LENGTH = RunLength(60, 3, 20)
LR = "torch.optim.lr_scheduler"


def _torchs(name: str, rate: float = 2e-4, **arguments: object) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    schedule, rates = getattr(torch.optim.lr_scheduler, name)(optimizer, **arguments), []
    for _ in range(60):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize(
    ("name", "lines", "arguments"),
    [
        ("StepLR", ["step_size = 7", "gamma=0.5"], {"step_size": 7, "gamma": 0.5}),
        ("MultiStepLR", ["milestones = 5, 40"], {"milestones": (5, 40)}),
        ("ExponentialLR", ["gamma = 0.97"], {"gamma": 0.97}),
        ("CosineAnnealingLR", ["T_max = %TOTAL_STEPS%", "eta_min = 1e-5"], {"T_max": 60, "eta_min": 1e-5}),
        ("CosineAnnealingWarmRestarts", ["T_0 = %STEPS_PER_EPOCH%"], {"T_0": 20}),
        ("PolynomialLR", ["total_iters = 30", "power = %EPOCHS%"], {"total_iters": 30, "power": 3}),
        (
            "CyclicLR",
            ["base_lr = 1e-5", "max_lr = %LR%", 'mode = "triangular2"', "cycle_momentum = False", "step_size_up = 8"],
            {"base_lr": 1e-5, "max_lr": 2e-4, "mode": "triangular2", "cycle_momentum": False, "step_size_up": 8},
        ),
    ],
)
def test_the_curve_is_torchs(name: str, lines: list[str], arguments: dict[str, object]) -> None:
    schedule = Custom(class_path=f"{LR}.{name}", arguments=lines)
    assert list(schedule.check()) == list(schedule.check_length(LENGTH)) == []
    expected = _torchs(name, **arguments)
    assert [schedule.rate(2e-4, step, LENGTH) for step in range(60)] == pytest.approx(expected, rel=1e-12)
    # whatever was asked before: a run that goes on asks for later steps only
    assert Custom(class_path=f"{LR}.{name}", arguments=lines).rate(2e-4, 41, LENGTH) == schedule.rate(2e-4, 41, LENGTH)


def test_the_warm_up_comes_before_it() -> None:
    schedule = Custom(class_path=f"{LR}.ExponentialLR", arguments=["gamma = 0.9"], warmup_steps=4)
    rates = [schedule.rate(1e-3, step, LENGTH) for step in range(7)]
    assert rates == pytest.approx([2e-4, 4e-4, 6e-4, 8e-4, 1e-3, 9e-4, 8.1e-4])


def test_a_minimum_rate_is_a_rate_whatever_the_groups_is() -> None:
    schedule = Custom(class_path=f"{LR}.CosineAnnealingLR", arguments=["T_max = %SCHEDULER_STEPS%", "eta_min = 1e-6"])
    for rate in (1e-4, 5e-5):
        assert schedule.rate(rate, 10_000, LENGTH) == pytest.approx(
            1e-6 + (rate - 1e-6) * (1 + torch.cos(torch.tensor(torch.pi * 59 / 60, dtype=torch.float64)).item()) / 2
        )


@pytest.mark.parametrize(
    ("path", "lines", "field", "words"),
    [
        ("StepLR", ["step_size = 7"], "class_path", "package.module.Class"),
        (f"{LR}.StepsLR", ["step_size = 7"], "class_path", "did you mean 'StepLR'"),
        ("torch.optim.AdamW", [], "class_path", "LRScheduler"),
        (f"{LR}.StepLR", ["step_sise = 7"], "arguments.0", "step_size"),
        (f"{LR}.StepLR", [], "arguments", "step_size"),
        (f"{LR}.StepLR", ["step_size = %STEPS%"], "arguments.0", "%TOTAL_STEPS%"),
        (f"{LR}.StepLR", ["step_size = 7", "optimizer = 1"], "arguments.1", "Ochre itself"),
        (f"{LR}.ReduceLROnPlateau", [], "class_path", "the loss at each step"),
    ],
)
def test_what_cannot_be_used_is_named(path: str, lines: list[str], field: str, words: str) -> None:
    settings, problems = validate(Custom, {"name": "custom", "class_path": path, "arguments": lines})
    assert settings is not None
    assert any(problem.path == field and words in problem.message for problem in problems), problems


@pytest.mark.parametrize(
    ("name", "lines", "words"),
    [
        ("OneCycleLR", ["max_lr = 1e-3", "total_steps = 10", "cycle_momentum = False"], "fails at step 11"),
        ("OneCycleLR", ["max_lr = 1e-3", "total_steps = %TOTAL_STEPS%"], "momentum"),
        ("StepLR", ['step_size = "seven"'], "fails at step 1"),
        ("MultiStepLR", ["milestones = 7"], "can't be used with these arguments"),
        ("ExponentialLR", ["gamma = -0.5"], "give a rate of -0.5 at step 1"),
        ("LambdaLR", ["lr_lambda = 3"], "not callable"),
    ],
)
def test_what_fails_on_the_way_is_found_before_the_start(name: str, lines: list[str], words: str) -> None:
    (problem,) = Custom(class_path=f"{LR}.{name}", arguments=lines).check_length(LENGTH)
    assert problem.path == "arguments" and words in problem.message, problem
