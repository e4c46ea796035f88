"""Weights whose rate is 0 stay, with libraries that would move them; all else is the library's, bit for bit."""

from __future__ import annotations

from typing import Any

import dadaptation
import dadaptation.experimental
import prodigyopt
import pytest
import torch

from core.optimizers._zero_rates import leaving_out_zero_rates

LIBRARY: dict[str, Any] = {
    "Prodigy": prodigyopt.Prodigy,
    "DAdaptAdam": dadaptation.DAdaptAdam,
    "DAdaptAdan": dadaptation.DAdaptAdan,
    "DAdaptLion": dadaptation.DAdaptLion,
    "DAdaptSGD": dadaptation.DAdaptSGD,
    "DAdaptAdaGrad": dadaptation.DAdaptAdaGrad,
}


def _run(cls: Any, steps: int, stop_first: bool = False, stop_second: bool = False) -> list[torch.Tensor]:
    draws = torch.Generator().manual_seed(2)
    weights = [torch.nn.Parameter(torch.ones(4, 4)) for _ in range(2)]
    optimizer = cls([{"params": [weight], "lr": 1.0} for weight in weights])
    for step in range(steps):
        for weight in weights:
            weight.grad = torch.randn(4, 4, generator=draws) + 1
        if step == steps - 1:
            optimizer.param_groups[0]["lr"] *= not stop_first
            optimizer.param_groups[1]["lr"] *= not stop_second
        optimizer.step()
    return [weight.detach() for weight in weights]


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_is_followed_where_no_rate_is_0(name: str) -> None:
    theirs, ours = _run(LIBRARY[name], 12), _run(leaving_out_zero_rates(LIBRARY[name]), 12)
    assert all(torch.equal(*pair) for pair in zip(theirs, ours, strict=True))


@pytest.mark.parametrize("name", ["Prodigy", "DAdaptAdam", "DAdaptAdan", "DAdaptLion", "DAdaptAdaGrad"])
def test_why_it_is_needed(name: str) -> None:
    """The library moves the weights of a group whose rate is 0, as when a text encoder's training is over."""
    before, theirs = _run(LIBRARY[name], 11), _run(LIBRARY[name], 12, stop_second=True)
    ours = _run(leaving_out_zero_rates(LIBRARY[name]), 12, stop_second=True)
    assert not torch.equal(theirs[1], before[1])
    assert torch.equal(ours[1], before[1]) and not torch.equal(ours[0], before[0])


def test_why_it_is_needed_with_the_first_group() -> None:
    """Adan's takes the first group's rate for all: with it at 0 the second one's is lost."""
    before, whole = _run(dadaptation.DAdaptAdan, 11), _run(dadaptation.DAdaptAdan, 12)
    theirs = _run(dadaptation.DAdaptAdan, 12, stop_first=True)
    ours = _run(leaving_out_zero_rates(dadaptation.DAdaptAdan), 12, stop_first=True)
    assert not torch.equal(theirs[1], whole[1])
    assert torch.equal(ours[0], before[0]) and not torch.equal(ours[1], before[1])


def test_why_it_is_needed_at_a_schedules_end() -> None:
    with pytest.raises(UnboundLocalError):
        _run(dadaptation.DAdaptSGD, 3, True, True)
    ours = _run(leaving_out_zero_rates(dadaptation.DAdaptSGD), 3, True, True)
    assert all(torch.equal(*pair) for pair in zip(ours, _run(dadaptation.DAdaptSGD, 2), strict=True))


def test_a_class_keeps_its_name_for_the_loras_metadata() -> None:
    cls = leaving_out_zero_rates(prodigyopt.Prodigy)
    assert f"{cls.__module__}.{cls.__qualname__}" == "prodigyopt.prodigy.Prodigy"
