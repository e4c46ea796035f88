"""Every algorithm: nothing at first, then what its difference says; small updates in bf16; dropouts; state; gradients."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core.networks._adapter import Adapter
from core.registry import registry
from tests.core.networks.cases import CASES, RUNS, attach, disturb, in_training, modules, picture, tiny_model


def test_every_algorithm_is_here() -> None:
    adapters = {name for name, cls in registry("networks").all().items() if cls.adapts}
    assert {cls(**settings).name for cls, settings in CASES.values()} == adapters


@pytest.mark.parametrize(("cls", "settings"), RUNS)
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_new_network_changes_nothing(cls: type[Adapter], settings: dict[str, Any], dtype: str) -> None:
    model, x = tiny_model(), picture()
    before = model.parts["denoiser"](x)
    attach(cls, settings, model, weight_dtype=dtype)
    with in_training(model) as denoiser:
        torch.testing.assert_close(denoiser(x), before, rtol=0, atol=0)


@pytest.mark.parametrize(("cls", "settings"), RUNS)
def test_a_layer_gives_what_its_difference_says(cls: type[Adapter], settings: dict[str, Any]) -> None:
    model = tiny_model()
    network = attach(cls, settings, model)
    disturb(network)
    for path, module in modules(network).items():
        layer = model.parts["denoiser"].get_submodule(path)
        x = torch.randn(2, 6, 7, 5) if path == "conv" else torch.randn(2, *_input(layer))
        with network.disabled():
            other = _with(layer, module.difference(), module.bias_difference())
        expected = other(x.double())
        torch.testing.assert_close(layer(x).double(), expected, rtol=1e-5, atol=2e-6, msg=lambda m, p=path: f"{p}: {m}")
        assert not torch.equal(layer(x), module.org_forward(x)), path


def _input(layer: Any) -> tuple[int, ...]:
    if isinstance(layer, nn.Conv2d | nn.GroupNorm):
        return (layer.in_channels if isinstance(layer, nn.Conv2d) else layer.num_channels, 7, 5)
    return (5, layer.in_features if isinstance(layer, nn.Linear) else layer.normalized_shape[0])


def _with(layer: nn.Module, change: Tensor, bias: Tensor | None) -> nn.Module:
    """A copy of an untouched layer in float64, its weights changed."""
    other: Any = copy.deepcopy(layer)
    other.__dict__.pop("forward", None)
    other = other.double()
    other.weight.data += change.detach().double()
    if bias is not None:
        other.bias.data += bias.detach().double()
    return other


@pytest.mark.parametrize(("cls", "settings"), RUNS)
def test_factors_make_the_difference(cls: type[Adapter], settings: dict[str, Any]) -> None:
    network = attach(cls, settings, tiny_model())
    disturb(network)
    for path, module in modules(network).items():
        if factors := module.factors():
            up, down = (factor.double() for factor in factors)
            expected = module.difference().double().flatten(1)
            torch.testing.assert_close(up @ down, expected, rtol=1e-5, atol=1e-6, msg=lambda m, p=path: f"{p}: {m}")
