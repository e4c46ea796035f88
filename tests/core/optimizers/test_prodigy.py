"""Prodigy: its rates, and the options that it hands on."""

from __future__ import annotations

import math

import pytest
import torch

from core.optimizers.prodigy import Prodigy


def _groups() -> list[dict]:
    return [{"params": [torch.nn.Parameter(torch.ones(2, 3))], "lr": 1.0}]


def test_the_usual_rates_of_other_optimizers_are_a_problem_with_a_replacement() -> None:
    (problem,) = Prodigy().check_rates({"denoiser": 1e-4})
    assert problem.path == "parts.denoiser.learning_rate"
    assert problem.replacement == {"parts.denoiser.learning_rate": 1.0}


def test_parts_with_different_rates_are_a_problem_before_the_library_raises() -> None:
    (problem,) = Prodigy().check_rates({"denoiser": 1.0, "text_1": 0.5})
    assert problem.path == "parts.text_1.learning_rate"
    assert problem.replacement == {"parts.text_1.learning_rate": 1.0}
    optimizer = Prodigy().build([*_groups(), _groups()[0] | {"lr": 0.5}])
    for group in optimizer.param_groups:
        group["params"][0].grad = torch.ones(2, 3)
    with pytest.raises(RuntimeError):
        optimizer.step()


@pytest.mark.parametrize("rates", [{}, {"denoiser": 0.0}, {"denoiser": 1.0}, {"denoiser": 1.0, "text_1": 0.0}])
def test_equal_rates_are_right_and_zero_is_allowed(rates: dict[str, float]) -> None:
    assert not list(Prodigy().check_rates(rates))


def test_no_growth_limit_is_zero() -> None:
    assert Prodigy().build(_groups()).param_groups[0]["growth_rate"] == math.inf
    assert Prodigy(growth_rate=1.02).build(_groups()).param_groups[0]["growth_rate"] == 1.02
    assert [problem.path for problem in Prodigy(growth_rate=0.5).check()] == ["growth_rate"]


def test_weight_decay_reaches_every_group_and_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    optimizer = Prodigy(weight_decay=0.05).build(_groups() + _groups())
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05, 0.05]
    assert capsys.readouterr().out == ""


def test_slices_need_less_state() -> None:
    sizes = []
    for slice_p in (1, 3):
        groups = _groups()
        weight = groups[0]["params"][0]
        weight.grad = torch.ones_like(weight)
        optimizer = Prodigy(slice_p=slice_p).build(groups)
        optimizer.step()
        sizes.append(optimizer.state[weight]["s"].numel())
    assert sizes == [6, 2]
