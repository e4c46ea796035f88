"""D-Adaptation's optimizers: their settings reach the library, and the rates that they tell are those they take."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
import torch

from core.optimizers._d_adaptation import DAdaptation
from core.optimizers.dadapt_adam import DAdaptAdam
from core.optimizers.dadapt_lion import DAdaptLion
from core.registry import registry

OURS: dict[str, Any] = {name: cls for name, cls in registry("optimizers").all().items() if issubclass(cls, DAdaptation)}


def _group(*shape: int, rate: float = 1.0) -> dict[str, Any]:
    return {"params": [torch.nn.Parameter(torch.ones(shape))], "lr": rate}


def test_they_are_all_there() -> None:
    assert len(OURS) == 7


@pytest.mark.parametrize("name", OURS)
def test_every_argument_of_the_library_is_a_setting(name: str) -> None:
    """But what is for another kind of machine, or prints."""
    import dadaptation.experimental

    path = OURS[name].theirs.rpartition(".")[2]
    cls = getattr(dadaptation, path, None) or getattr(dadaptation.experimental, path)
    theirs = {"d" if key == "d0" else key for key in inspect.signature(cls).parameters}
    optimizer = OURS[name]().build([_group(2, 3)])
    assert theirs - {"params", "lr", "log_every", "fsdp_in_use"} == set(OURS[name]().arguments())
    assert set(OURS[name]().arguments()) <= set(optimizer.param_groups[0]), "a group's value that nobody reads"


@pytest.mark.parametrize("name", OURS)
def test_the_defaults_are_the_librarys(name: str) -> None:
    import dadaptation.experimental

    path = OURS[name].theirs.rpartition(".")[2]
    cls = getattr(dadaptation, path, None) or getattr(dadaptation.experimental, path)
    theirs = cls([_group(2, 3)]).param_groups[0]
    ours = OURS[name]().build([_group(2, 3)]).param_groups[0]
    assert {key: value for key, value in ours.items() if key != "params"} == {
        key: value for key, value in theirs.items() if key != "params"
    }


def test_lions_step_by_hand() -> None:
    """The weights move by d times the rate in the direction of the sign, and this is the rate that is told."""
    config = DAdaptLion(d0=0.25)
    group = _group(2, rate=0.5)
    optimizer = config.build([group])
    group["params"][0].grad = torch.tensor([3.0, -2.0])
    optimizer.step()
    torch.testing.assert_close(group["params"][0].detach(), torch.tensor([1 - 0.125, 1 + 0.125]))
    found = optimizer.param_groups[0]
    assert config.effective_rate(optimizer, found) == 0.5 * found["d"] >= 0.125


def test_adams_step_by_hand() -> None:
    """Section 5 of the paper: m = (1 - b1) d lr g, v = (1 - b2) g^2, and a step of m / (sqrt v + eps)."""
    group = _group(2)
    optimizer = DAdaptAdam(d0=0.25).build([group])
    group["params"][0].grad = torch.tensor([3.0, -2.0])
    optimizer.step()
    step = 0.1 * 0.25 / math.sqrt(0.001)
    torch.testing.assert_close(group["params"][0].detach(), torch.tensor([1 - step, 1 + step]), rtol=1e-5, atol=0)


def test_the_rate_is_told_with_adams_correction_where_there_is_one() -> None:
    for corrected in (False, True):
        config = DAdaptAdam(use_bias_correction=corrected)
        optimizer = config.build([_group(2)])
        for _ in range(3):
            optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
            optimizer.step()
        found = optimizer.param_groups[0]
        factor = math.sqrt(1 - 0.999**3) / (1 - 0.9**3) if corrected else 1.0
        assert config.effective_rate(optimizer, found) == pytest.approx(found["d"] * factor, rel=1e-12)


@pytest.mark.parametrize("name", OURS)
def test_nothing_is_printed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    more = {"decouple": True, "weight_decay": 0.1} if "decouple" in OURS[name].model_fields else {}
    OURS[name].model_validate(more).build([_group(2, 3)])
    assert capsys.readouterr().out == ""


def test_growth_limits_of_1_and_less_are_a_problem() -> None:
    assert [problem.path for problem in DAdaptAdam(growth_rate=1.0).check()] == ["growth_rate"]
    assert DAdaptAdam(growth_rate=1.02).build([_group(2)]).param_groups[0]["growth_rate"] == 1.02
    assert DAdaptAdam().build([_group(2)]).param_groups[0]["growth_rate"] == math.inf
