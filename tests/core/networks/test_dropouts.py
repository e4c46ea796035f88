"""Dropouts drop, in training alone, and what stays is scaled as each says: of every algorithm that has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from core.networks._adapter import Adapter
from tests.core.networks.cases import CASES, attach, disturb, in_training, input_of, modules, picture, tiny_model

LAYERS = ("conv", "to_out", "group")


def having(setting: str) -> list[Any]:
    """The cases whose algorithm has a setting."""
    return [pytest.param(*case, id=name) for name, case in CASES.items() if setting in case[0].model_fields]


def calls(cls: type[Adapter], settings: dict[str, Any], path: str, count: int, **more: Any) -> tuple[Tensor, Tensor]:
    """What a layer's change adds: without dropout, and in so many calls in training."""
    model = tiny_model()
    network = attach(cls, settings, model, **more)
    disturb(network)
    module, layer = modules(network)[path], model.parts["denoiser"].get_submodule(path)
    x = input_of(layer, 4)
    with torch.no_grad():
        base = module.org_forward(x)
        whole = layer(x) - base
        torch.testing.assert_close(layer(x), base + whole, rtol=0, atol=1e-6)  # none in eval mode
        with in_training(model):
            torch.manual_seed(5)
            return whole, torch.stack([layer(x) - base for _ in range(count)])


def _layer_of(cls: type[Adapter], settings: dict[str, Any]) -> list[str]:
    found = modules(attach(cls, settings, tiny_model()))
    return [path for path in LAYERS if path in found]


def test_every_algorithm_drops() -> None:
    assert len(having("dropout")) == len(having("module_dropout")) == len(CASES)
    kinds = {case.values[0].__name__ for case in having("rank_dropout")}
    assert kinds == {"Lora", "Locon", "Loha", "Lokr", "Glora"}


@pytest.mark.parametrize(("cls", "settings"), having("dropout"))
def test_dropout_zeroes_a_share_and_scales_the_rest(cls: type[Adapter], settings: dict[str, Any]) -> None:
    for path in _layer_of(cls, settings):
        # DyLoRA draws a block at each call: with one block it is always the same
        fixed = {"block_size": 4} if cls.__name__ == "Dylora" else {}
        whole, seen = calls(cls, settings | fixed, path, 12, dropout=0.25)
        gone = seen.abs() < 1e-6
        assert 0.22 < float(gone[:, whole.abs() > 1e-4].float().mean()) < 0.28, path
        scaled = (whole / 0.75).expand_as(seen)
        torch.testing.assert_close(seen[~gone], scaled[~gone], rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize(("cls", "settings"), having("module_dropout"))
def test_module_dropout_leaves_layers_alone(cls: type[Adapter], settings: dict[str, Any]) -> None:
    for path in _layer_of(cls, settings):
        fixed = {"block_size": 4} if cls.__name__ == "Dylora" else {}
        whole, seen = calls(cls, settings | fixed, path, 80, module_dropout=0.25)
        gone = (seen == 0).flatten(1).all(1)
        assert 0.1 < float(gone.float().mean()) < 0.4, path
        torch.testing.assert_close(seen[~gone], whole.expand_as(seen)[~gone], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["lora", "lora, pissa", "locon, tucker", "loha", "lokr", "lokr, whole", "glora"])
@pytest.mark.parametrize("scaled", [True, False])
def test_rank_dropout_keeps_the_mean_or_a_share_of_it(name: str, scaled: bool) -> None:
    cls, settings = CASES[name]
    for path in ("conv", "to_out"):
        whole, seen = calls(cls, settings, path, 300, rank_dropout=0.25, rank_dropout_scale=scaled)
        expected = whole if scaled else 0.75 * whole
        assert (seen.mean(0) - expected).norm() < 0.1 * expected.norm(), path
        assert len({round(float(one.norm()), 4) for one in seen}) > 3, path


@pytest.mark.parametrize("layer", ["conv", "to_out"])
@pytest.mark.parametrize("name", ["lora", "glora", "lora, pissa"])
def test_each_sample_loses_ranks_of_its_own(name: str, layer: str) -> None:
    """As in kohya's networks/lora.py: with one rank, a sample has twice its change or none. GLoRA has two halves."""
    cls, settings = CASES[name]
    whole, seen = calls(cls, {**settings, "rank": 1}, layer, 60, rank_dropout=0.5)
    ratios = (seen * whole).flatten(2).sum(2) / whole.square().flatten(1).sum(1)  # calls, samples
    assert not all(len({round(float(one), 3) for one in call}) == 1 for call in ratios)
    if name != "glora":
        assert {round(float(one), 3) for one in ratios.flatten()} == {0.0, 2.0}


@pytest.mark.parametrize("layer", ["conv", "to_out"])
@pytest.mark.parametrize("name", ["loha", "lokr", "loha, dora"])
def test_rows_are_dropped_whole(name: str, layer: str) -> None:
    """LyCORIS' rank dropout of LoHa and LoKr: rows of dW, so outputs of the layer, the same of all samples."""
    cls, settings = CASES[name]
    whole, seen = calls(cls, settings, layer, 60, rank_dropout=0.5)
    axis = 2 if layer == "conv" else -1
    outputs = seen.movedim(axis, 1).flatten(2)
    norms, full = outputs.norm(dim=2), whole.movedim(axis - (axis > 0), 0).flatten(1).norm(dim=1)
    if "dora" in name:
        assert norms.std(0).min() > 0
        return
    ratios = {round(float(one), 2) for one in (norms / full).flatten()}
    assert ratios == {0.0, 2.0}


@pytest.mark.parametrize("name", ["lora", "loha, dora", "lokr, tucker", "dylora", "glora", "oft", "full"])
def test_checkpointing_gives_the_same_gradients(name: str) -> None:
    """What is dropped in the forward pass is dropped when it is repeated."""
    cls, settings = CASES[name]
    drops: dict[str, Any] = {"dropout": 0.2, "module_dropout": 0.2}
    drops |= {"rank_dropout": 0.2} if "rank_dropout" in cls.model_fields else {}
    model = tiny_model()
    network = attach(cls, settings, model, **drops)
    disturb(network)
    trained = [parameter for parameter in network.modules()["denoiser"].parameters() if parameter.requires_grad]

    def gradients(run: Callable[[Tensor], Tensor]) -> list[Tensor]:
        torch.manual_seed(9)
        found = torch.autograd.grad(run(picture().requires_grad_()).square().sum(), trained, allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for g, p in zip(found, trained, strict=True)]

    with in_training(model) as denoiser:
        plain = gradients(denoiser)
        again = gradients(lambda x: checkpoint(denoiser, x, use_reentrant=False))  # type: ignore[arg-type,return-value]
    assert any(gradient.any() for gradient in plain)
    assert all(torch.equal(first, second) for first, second in zip(plain, again, strict=True))
