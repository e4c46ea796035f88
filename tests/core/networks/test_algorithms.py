"""Every algorithm: nothing at first, then what its difference says; gradients, small updates in bf16, state."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core.contracts import Network, PartLayers
from core.networks._adapter import Adapter
from core.registry import registry
from tests.core.networks.cases import (
    CASES,
    RUNS,
    attach,
    disturb,
    disturb_one,
    in_training,
    input_of,
    modules,
    picture,
    tiny_model,
)


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
        x = input_of(layer, 2)
        with network.disabled():
            other = _with(layer, module.difference(), module.bias_difference())
        expected = other(x.double())
        torch.testing.assert_close(layer(x).double(), expected, rtol=1e-5, atol=2e-6, msg=lambda m, p=path: f"{p}: {m}")
        assert not torch.equal(layer(x), module.org_forward(x)), path


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


@pytest.mark.parametrize(("cls", "settings"), RUNS)
def test_gradients_are_those_of_the_rebuilt_weight(cls: type[Adapter], settings: dict[str, Any]) -> None:
    """Autograd's, through a layer whose weight is W + difference: nothing that is left out or recomputed is wrong."""
    network = attach(cls, settings, tiny_model())
    disturb(network)
    for path, module in modules(network).items():
        layer = module.org_module[0]
        x = input_of(layer, 2).requires_grad_()
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        seen = torch.autograd.grad(layer(x).square().sum(), [x, *trained])
        weight, bias = layer.weight + module.difference(), layer.bias
        if (more := module.bias_difference()) is not None:
            bias = bias + more
        y = module.op(x, weight=weight, bias=bias, **module.kw_dict)
        expected = torch.autograd.grad(y.square().sum(), [x, *trained])
        for got, right in zip(seen, expected, strict=True):
            close = (got - right).norm() <= 1e-4 * right.norm() + 1e-4
            assert close, (path, got.shape, (got - right).norm() / right.norm())


@pytest.mark.parametrize(("cls", "settings"), RUNS)
def test_a_bf16_base_loses_no_small_update(cls: type[Adapter], settings: dict[str, Any]) -> None:
    """What an update of rms 1e-6 does, in bf16, and its gradients; rebuilt in bf16, LyCORIS' lose up to 91 %."""
    model = tiny_model()
    model.parts["denoiser"].to(torch.bfloat16)
    network = attach(cls, settings, model)
    before = {path: module.difference().detach().clone() for path, module in modules(network).items()}
    _shrink(network)
    for path, module in modules(network).items():
        difference = module.difference()
        change = (difference - before[path]).detach().double()
        assert 1e-7 < change.square().mean().sqrt() < 1e-5, path
        x = input_of(module.org_module[0], 16).bfloat16()
        with torch.autocast("cpu", torch.bfloat16):
            seen = module.change(x, module.org_forward(x))
        bias = module.bias_difference()
        right = module.op(x.double(), weight=change, bias=None if bias is None else bias.double(), **module.kw_dict)
        assert (seen.double() - right).norm() < 0.02 * right.norm(), path
        pull = torch.randn(seen.shape)
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        got = torch.autograd.grad((seen * pull).sum(), trained)
        exact = module.op(x.float(), weight=difference, bias=bias, **module.kw_dict)
        for gradient, expected in zip(got, torch.autograd.grad((exact * pull).sum(), trained), strict=True):
            assert (gradient - expected).norm() < 0.03 * expected.norm() + 1e-6, path


def _shrink(network: Network) -> None:
    """Make the changes of the weights about 1e-6, from what the network begins with."""
    for module in modules(network).values():
        start = {name: tensor.clone() for name, tensor in module.trained().items()}
        disturb_one(module, 1.0)
        move = {name: tensor - start[name] for name, tensor in module.trained().items()}
        begun = _at(module, start, move, 0.0)
        size = 1.0
        for _ in range(60):
            if float((_at(module, start, move, size) - begun).square().mean().sqrt()) < 1.5e-6:
                break
            size *= 0.7


def _at(module: Any, start: dict[str, Tensor], move: dict[str, Tensor], size: float) -> Tensor:
    for name, tensor in module.trained().items():
        tensor.copy_(start[name] + size * move[name])
    return module.difference().detach().clone()


@pytest.mark.parametrize(("cls", "settings"), RUNS)
def test_the_state_brings_everything_back(cls: type[Adapter], settings: dict[str, Any]) -> None:
    first, second, x = tiny_model(), tiny_model(), picture()
    network = attach(cls, settings, first)
    disturb(network)
    torch.manual_seed(77)  # other first weights
    other = cls(**settings).attach(second, {"denoiser": PartLayers({})})
    other.load_state({name: tensor.clone() for name, tensor in network.state().items()})
    torch.testing.assert_close(second.parts["denoiser"](x), first.parts["denoiser"](x), rtol=0, atol=0)
    with in_training(second) as denoiser:  # and trains on
        denoiser(x).sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in other.modules()["denoiser"].parameters())


@pytest.mark.parametrize(("cls", "settings"), RUNS)
def test_disabled_is_the_untouched_model(cls: type[Adapter], settings: dict[str, Any]) -> None:
    model, x = tiny_model(), picture()
    before = model.parts["denoiser"](x)
    network = attach(cls, settings, model)
    disturb(network)
    changed = model.parts["denoiser"](x)
    for _ in range(2):
        with network.disabled():
            torch.testing.assert_close(model.parts["denoiser"](x), before, rtol=0, atol=0)
        torch.testing.assert_close(model.parts["denoiser"](x), changed, rtol=0, atol=0)
    assert not torch.equal(before, changed)
    assert all(norm > 0 for norm in network.norms().values())


@pytest.mark.parametrize(("cls", "settings"), RUNS)
def test_weights_are_trained_in_the_precision_that_was_chosen(cls: type[Adapter], settings: dict[str, Any]) -> None:
    model, x = tiny_model(), picture()
    network = attach(cls, settings, model, weight_dtype="bf16")
    (group,) = network.groups({"denoiser": 0.01})
    held = {name.rpartition(".")[2]: tensor.dtype for name, tensor in network.state().items()}
    held.pop("dora_scale", None)  # sizes of whole vectors stay fp32
    assert all(held[name] == torch.bfloat16 for name in held if not name.startswith(("base_", "first_")))
    disturb(network)
    before = model.parts["denoiser"](x)
    with in_training(model) as denoiser, torch.autocast("cpu", torch.bfloat16):
        denoiser(x).square().sum().backward()
    torch.optim.SGD(group["params"], 1e-3).step()
    assert not torch.equal(model.parts["denoiser"](x), before)
    assert all(tensor.dtype == torch.float32 for tensor in network.export(lambda part, path: path).values())
