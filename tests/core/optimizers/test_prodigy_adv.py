"""Prodigy of adv_optm: the same as Prodigy's own, and exact after a restart."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from core.optimizers._state import restore_state
from core.optimizers.prodigy import Prodigy
from core.optimizers.prodigy_adv import ProdigyAdv
from core.settings.bases import OptimizerConfig


class _Descent:
    """Two weights on their way down a bowl, to where they are 1."""

    def __init__(self, config: OptimizerConfig, second_rate: float = 1.0) -> None:
        draws = torch.Generator().manual_seed(2)
        self.weights = [torch.nn.Parameter(torch.randn(6, 8, generator=draws)) for _ in range(2)]
        rates = (1.0, second_rate)
        self.optimizer: Any = config.build(
            [{"params": [w], "lr": rate, "name": f"{rate}"} for w, rate in zip(self.weights, rates, strict=True)]
        )

    def go(self, steps: int) -> list[float]:
        found = []
        for _ in range(steps):
            self.optimizer.zero_grad()
            sum(((weight - 1) ** 2).sum() for weight in self.weights).backward()  # type: ignore[union-attr]
            self.optimizer.step()
            found.append(self.optimizer.param_groups[0]["d"])
        return found

    def copies(self) -> list[Tensor]:
        return [weight.detach().clone() for weight in self.weights]


def test_steps_as_prodigys_own_library() -> None:
    theirs = _Descent(Prodigy(weight_decay=0.1, slice_p=1))
    ours = _Descent(ProdigyAdv(weight_decay=0.1, slice_p=1))
    rates = torch.tensor(theirs.go(15))
    assert rates[-1] > 1e-3, "it has found a rate"
    torch.testing.assert_close(torch.tensor(ours.go(15)), rates, rtol=1e-4, atol=0)
    torch.testing.assert_close(ours.copies(), theirs.copies(), rtol=1e-4, atol=1e-5)


def test_the_rate_is_found_on_as_it_would_have_been_after_a_restart() -> None:
    """The library alone would take the numerator up without letting it fade once."""
    whole = _Descent(ProdigyAdv())
    whole.go(7)
    state, weights = copy.deepcopy(whole.optimizer.state_dict()), whole.copies()
    wanted = whole.go(5)
    assert wanted[0] < wanted[-1], "it is still searching"

    resumed = _Descent(ProdigyAdv())
    with torch.no_grad():
        for weight, values in zip(resumed.weights, weights, strict=True):
            weight.copy_(values)
    restore_state(resumed.optimizer, state)
    assert resumed.go(5) == wanted
    assert all(map(torch.equal, resumed.copies(), whole.copies()))


def test_groups_may_have_rates_of_their_own() -> None:
    assert not list(ProdigyAdv().check_rates({"denoiser": 1.0, "text_1": 0.5}))
    descent = _Descent(ProdigyAdv(d0=1e-3), second_rate=0.5)
    before = descent.copies()
    descent.go(1)
    first, second = (float((new - old).norm()) for new, old in zip(descent.copies(), before, strict=True))
    assert second == pytest.approx(0.5 * first, rel=0.01)
    group = descent.optimizer.param_groups[1]
    assert ProdigyAdv().effective_rate(descent.optimizer, group) == group["d"] * 0.5


def test_after_the_last_step_of_its_search_the_rate_stays_and_memory_is_given_back() -> None:
    descent = _Descent(ProdigyAdv(prodigy_steps=4))
    found = descent.go(10)
    assert found[2] < found[3] and len(set(found[3:])) == 1
    assert not any("s" in descent.optimizer.state[weight] for weight in descent.weights)


def test_usual_rates_of_other_optimizers_are_a_problem() -> None:
    (problem,) = ProdigyAdv().check_rates({"denoiser": 1e-4})
    assert problem.replacement == {"parts.denoiser.learning_rate": 1.0}
    assert [problem.path for problem in ProdigyAdv(growth_rate=0.5).check()] == ["growth_rate"]
    assert [problem.path for problem in ProdigyAdv(kourkoutas_beta=True, beta2_min=0.999).check()] == ["beta2_min"]
