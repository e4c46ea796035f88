"""Adafactor's options."""

from __future__ import annotations

import pytest
import torch

from core.optimizers.adafactor import Adafactor


def _moved(config: Adafactor, rate: float) -> torch.Tensor:
    weight = torch.nn.Parameter(torch.ones(4, 8))
    optimizer = config.build([{"params": [weight], "lr": rate}])
    weight.grad = torch.linspace(-1, 1, 32).reshape(4, 8)
    optimizer.step()
    return (weight.detach() - 1).abs().max()


def test_follows_the_given_rate() -> None:
    assert _moved(Adafactor(), 1e-2) == pytest.approx(10 * _moved(Adafactor(), 1e-3).item(), rel=1e-4)


def test_its_own_rate_takes_no_notice_of_the_given_one() -> None:
    own = Adafactor(relative_step=True)
    assert _moved(own, 1e-2) == _moved(own, 1e-3) > 0
    assert _moved(Adafactor(relative_step=True, warmup_init=True), 1e-3) < _moved(own, 1e-3)


def test_keeps_rows_and_columns_only() -> None:
    weight = torch.nn.Parameter(torch.ones(4, 8))
    optimizer = Adafactor().build([{"params": [weight], "lr": 1e-3}])
    weight.grad = torch.ones(4, 8)
    optimizer.step()
    assert optimizer.state[weight]["exp_avg_sq_row"].shape == (4,)
    assert optimizer.state[weight]["exp_avg_sq_col"].shape == (8,)
    assert "exp_avg" not in optimizer.state[weight]


def test_a_slow_start_without_its_own_rate_is_a_problem() -> None:
    assert [problem.path for problem in Adafactor(warmup_init=True).check()] == ["warmup_init"]


def test_any_learning_rate_goes_with_its_own() -> None:
    assert list(Adafactor().check_rates({"denoiser": 1.0}))
    assert not list(Adafactor(relative_step=True).check_rates({"denoiser": 1.0}))
