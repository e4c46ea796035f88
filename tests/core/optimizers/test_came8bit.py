"""CAME with its momentum in 8 bits: near to CAME, with less memory, and only where it is worth it."""

from __future__ import annotations

import pytest
import torch

from core.optimizers import _library, came8bit
from core.optimizers._trial import try_out
from core.optimizers.came8bit import Came8bit


def test_its_trial_agrees_with_came() -> None:
    findings = list(try_out(Came8bit, "cpu"))
    assert all(finding.passed for finding in findings), findings
    assert any("agree with CAME in fp32" in finding.text for finding in findings)


@pytest.mark.parametrize(("size", "packed"), [(64, True), (63, False)])
def test_small_tensors_stay_fp32(size: int, packed: bool) -> None:
    weight = torch.nn.Parameter(torch.ones(size, 64))
    optimizer = Came8bit().build([{"params": [weight], "lr": 1e-4}])
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    state = optimizer.state[weight]
    assert state["exp_avg"].dtype == (torch.uint8 if packed else torch.float32)
    assert state["exp_avg"].shape == weight.shape
    assert ("absmax" in state) == packed
    if packed:
        assert state["absmax"].shape == (2,), "64 x 64 weights in blocks of 2048"


@pytest.mark.parametrize("missing", ["bitsandbytes", "pytorch_optimizer"])
def test_needs_two_libraries(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there = _library.is_installed
    for module in (_library, came8bit):
        monkeypatch.setattr(module, "is_installed", lambda name: name != missing and there(name))
    found = Came8bit.availability("cpu")
    assert not found.works and missing in found.reason and found.instead == "came"
