"""The limit of norms is kohya's formula, and LyCORIS' for what only LyCORIS has."""

import copy
from typing import Any

import pytest
import torch
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from torch import nn

from core.contracts import Model, PartLayers
from core.networks._modules.dylora import DyloraChange
from core.networks._modules.full import FullChange
from core.networks._modules.glora import GloraChange
from core.networks._modules.loha import LohaChange
from core.networks._modules.lokr import LokrChange
from core.networks._modules.low_rank import LowRankChange
from core.networks._norms import limit_norms, multiply
from core.networks.locon import Locon
from core.networks.loha import Loha

LIMIT = 1.5


def layers() -> dict[str, nn.Module]:
    return {"linear": nn.Linear(12, 8), "conv": nn.Conv2d(6, 8, 3, padding=1), "one": nn.Conv2d(6, 8, 1)}


def shaken(module: Any, size: float, seed: int = 0) -> Any:
    """Random weights, with an update of about a size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        multiply(module, size / module.plain_difference().norm())
    return module


def kohyas(
    up: torch.Tensor, down: torch.Tensor, alpha: float, limit: float
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """networks/lora.py, apply_max_norm_regularization, in float64: up, down, and the norm that it reports."""
    up, down = up.detach().double(), down.detach().double()
    change = up.flatten(1) @ down.flatten(1) * (alpha / down.shape[0])
    norm = max(float(change.norm()), limit / 2)
    ratio = min(norm, limit) / norm
    return up * ratio**0.5, down * ratio**0.5, float(change.norm()) * ratio


@pytest.mark.parametrize("size", [0.1, LIMIT * 0.9, LIMIT * 1.01, 40.0])
@pytest.mark.parametrize("kind", ["linear", "conv", "one"])
def test_lora_is_scaled_as_kohya_does(kind: str, size: float) -> None:
    module = shaken(LowRankChange("x", layers()[kind], lora_dim=4, alpha=3.0), size)
    up, down, norm = kohyas(module.lora_up.weight, module.lora_down.weight, 3.0, LIMIT)
    before = [module.lora_up.weight.clone(), module.lora_down.weight.clone()]
    done = limit_norms([module], LIMIT)
    torch.testing.assert_close(module.lora_up.weight.double(), up, rtol=1e-6, atol=0)
    torch.testing.assert_close(module.lora_down.weight.double(), down, rtol=1e-6, atol=0)
    assert float(done.mean) == pytest.approx(norm, rel=1e-6)
    assert float(done.scaled) == (size > LIMIT)
    if size < LIMIT:  # not a bit of it changes
        assert torch.equal(module.lora_up.weight, before[0])
        assert torch.equal(module.lora_down.weight, before[1])


def test_nothing_is_divided_by_zero() -> None:
    module = LowRankChange("x", nn.Linear(12, 8), lora_dim=4, alpha=3.0)  # its up matrix is 0
    down = module.lora_down.weight.clone()
    done = limit_norms([module], LIMIT)
    assert torch.equal(module.lora_down.weight, down)
    assert [float(value) for value in (done.scaled, done.mean, done.largest)] == [0, 0, 0]


def lycoris(kind: str, layer: nn.Module) -> tuple[Any, Any]:
    """LyCORIS' module and ours."""
    if kind == "loha":
        return LohaModule("x", layer, lora_dim=3, alpha=2), LohaChange("x", layer, lora_dim=3, alpha=2.0)
    options: dict[str, Any] = {"lora_dim": 2, "alpha": 1.0, "factor": 2, "decompose_both": kind == "lokr_both"}
    return LokrModule("x", layer, **options), LokrChange("x", layer, **options)


@pytest.mark.parametrize("size", [LIMIT * 0.7, 4.0])
@pytest.mark.parametrize("layer", ["linear", "conv"])
@pytest.mark.parametrize("kind", ["loha", "lokr", "lokr_both"])
def test_loha_and_lokr_end_as_with_lycoris(kind: str, layer: str, size: float) -> None:
    theirs, ours = lycoris(kind, layers()[layer])
    shaken(ours, size)
    theirs.load_state_dict(ours.state_dict(), strict=False)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            parameter.copy_(dict(ours.named_parameters())[name])
    scaled, norm = theirs.apply_max_norm(LIMIT)
    done = limit_norms([ours], LIMIT)
    expected = theirs.get_weight(theirs.shape) * getattr(theirs, "scalar", 1)
    torch.testing.assert_close(ours.plain_difference(), expected.detach(), rtol=1e-5, atol=1e-7)
    assert float(done.largest) == pytest.approx(float(norm), rel=1e-5)
    assert bool(done.scaled) == bool(scaled) == (size > LIMIT)
    if kind != "loha":  # it scales the weights themselves, as we do
        for name, parameter in theirs.named_parameters():
            torch.testing.assert_close(dict(ours.named_parameters())[name], parameter, rtol=1e-6, atol=0)


@pytest.mark.parametrize("layer", ["linear", "conv"])
@pytest.mark.parametrize(
    "make",
    [
        lambda layer: DyloraChange("x", layer, lora_dim=4, alpha=2.0, block_size=2),
        lambda layer: GloraChange("x", layer, lora_dim=4, alpha=2.0),
        lambda layer: FullChange("x", layer),
        lambda layer: LowRankChange("x", layer, lora_dim=4, alpha=2.0, use_tucker=True),
        lambda layer: LohaChange("x", layer, lora_dim=4, alpha=2.0, use_tucker=True),
    ],
)
def test_other_updates_keep_their_direction_and_get_the_norm(make: Any, layer: str) -> None:
    module = shaken(make(layers()[layer]), 7.0)
    before, bias = module.plain_difference().detach().clone(), module.bias_difference()
    bias = None if bias is None else bias.detach().clone()
    limit_norms([module], LIMIT)
    torch.testing.assert_close(module.plain_difference(), before * (LIMIT / 7.0), rtol=1e-4, atol=1e-6)
    if bias is not None:
        torch.testing.assert_close(module.bias_difference(), bias * (LIMIT / 7.0))


def test_a_frozen_side_stays() -> None:
    module = shaken(LowRankChange("x", nn.Linear(12, 8), lora_dim=4, alpha=3.0), 5.0)
    module.lora_down.weight.requires_grad_(False)
    down = module.lora_down.weight.clone()
    limit_norms([module], LIMIT)
    assert torch.equal(module.lora_down.weight, down)
    assert float(module.plain_difference().detach().norm()) == pytest.approx(LIMIT, rel=1e-5)


def test_doras_decomposition_is_not_measured() -> None:
    """kohya and LyCORIS measure up and down alone; the sizes stay what they are."""
    module = LowRankChange("x", nn.Linear(12, 8), lora_dim=4, alpha=3.0, weight_decompose=True)
    sizes = module.dora_scale.detach().clone()
    with torch.no_grad():
        module.lora_up.weight.copy_(torch.randn(8, 4))
    up, down, _ = kohyas(module.lora_up.weight, module.lora_down.weight, 3.0, 0.5)
    limit_norms([module], 0.5)
    torch.testing.assert_close(module.lora_up.weight.double(), up, rtol=1e-6, atol=0)
    torch.testing.assert_close(module.lora_down.weight.double(), down, rtol=1e-6, atol=0)
    assert torch.equal(module.dora_scale, sizes)


# -- in a network


def network(**settings: Any) -> tuple[Any, nn.Module]:
    torch.manual_seed(0)
    part = nn.Sequential(nn.Conv2d(6, 8, 3), nn.Conv2d(8, 8, 1)).requires_grad_(False)
    groups = {"denoiser": PartLayers({"transformer": "^1$", "convolution": "^0$"})}
    return Locon(rank=4, conv_rank=2, **settings).attach(Model("sd15", {"denoiser": part}, {}, {}), groups), part


def test_a_network_is_limited_after_each_step_and_tells_of_it() -> None:
    limited, _ = network(max_norm=LIMIT)
    assert set(limited.norms()) == {"denoiser"}
    with torch.no_grad():
        for index, tensor in enumerate(limited.state().values()):
            tensor.copy_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(index)) * 2)
    norms = {key: float(m.plain_difference().detach().norm()) for key, m in limited.modules()["denoiser"].items()}
    assert all(norm > LIMIT for norm in norms.values())
    limited.after_step()
    for module in limited.modules()["denoiser"].values():
        assert float(module.plain_difference().detach().norm()) == pytest.approx(LIMIT, rel=1e-5)
    told = limited.norms()
    assert told["layers scaled down"] == 2
    assert told["mean of the layers"] == pytest.approx(LIMIT, rel=1e-5)
    assert told["largest of the layers"] == pytest.approx(LIMIT, rel=1e-5)


def test_norms_beside_it_are_left_alone() -> None:
    part = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8)).requires_grad_(False)
    found = {"denoiser": PartLayers({"transformer": "^0$"})}
    limited = Loha(rank=2, max_norm=LIMIT, train_norms=True).attach(Model("sd15", {"denoiser": part}, {}, {}), found)
    with torch.no_grad():
        for tensor in limited.state().values():
            tensor.fill_(3.0)
    limited.after_step()
    linear, norm = limited.modules()["denoiser"].values()  # type: ignore[operator]
    assert float(linear.plain_difference().detach().norm()) == pytest.approx(LIMIT, rel=1e-5)
    assert torch.equal(norm.w_norm, torch.full((8,), 3.0))


def test_without_a_limit_nothing_is_scaled() -> None:
    free, _ = network()
    with torch.no_grad():
        for tensor in free.state().values():
            tensor.add_(3.0)
    before = copy.deepcopy(free.state())
    free.after_step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in free.state().items())
    assert set(free.norms()) == {"denoiser"}
