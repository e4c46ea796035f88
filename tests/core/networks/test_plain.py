"""The plain LoRA beside a file: it does the same where one can, else it is the nearest, and says how near."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core.contracts import Model, Network
from core.networks.loha import Loha
from tests.core.networks.cases import CASES, attach, disturb, modules, picture, tiny_model

# The matrices of the small model have ranks up to 24: 24 holds everything, and what needs less has less
EXACT = ["lora, dora by input", "lora, dora by output", "locon, tucker and dora", "loha", "loha, tucker", "loha, dora"]
EXACT += ["lokr", "lokr, tucker", "lokr, whole", "lokr, both of low rank", "lokr, dora", "glora", "ia3", "oft", "boft"]
EXACT += ["oft, rescaled, bound"]


def plain_of(network: Network) -> dict[str, Tensor]:
    return network.beside(lambda part, path: path)["plain"]


def with_plain(model: Model, network: Network) -> nn.Module:
    """The untouched model with W + (alpha / rank) up down, in float64."""
    plain = plain_of(network)
    with network.disabled():
        other: Any = copy.deepcopy(model.parts["denoiser"]).double()
    del other.ochre_network
    for layer in other.modules():
        layer.__dict__.pop("forward", None)
    for path in {name.removesuffix(".alpha") for name in plain if name.endswith(".alpha")}:
        up, down = plain[f"{path}.lora_up.weight"].double(), plain[f"{path}.lora_down.weight"].double()
        layer = other.get_submodule(path)
        scale = float(plain[f"{path}.alpha"]) / down.shape[0]
        layer.weight.data += scale * (up.flatten(1) @ down.flatten(1)).reshape(layer.weight.shape)
    return other


@pytest.mark.parametrize("name", EXACT)
def test_a_plain_lora_of_enough_rank_does_the_same(name: str) -> None:
    cls, settings = CASES[name]
    model, x = tiny_model(), picture()
    network = attach(cls, settings, model, save_plain=True, plain_rank=24)
    disturb(network)
    loaded = with_plain(model, network)(x.double())
    torch.testing.assert_close(loaded, model.parts["denoiser"](x).double(), rtol=1e-4, atol=1e-5)
    assert network.remarks() == ["The plain LoRA beside it does the same."]


@pytest.mark.parametrize("name", ["loha", "glora", "lokr", "lora, dora by input", "oft", "full", "loha, tucker"])
def test_a_plain_lora_of_less_rank_is_the_nearest_and_says_how_near(name: str) -> None:
    """By Eckart and Young, the singular values left out are what is missing: numpy's, in float64."""
    cls, settings = CASES[name]
    network = attach(cls, settings, tiny_model(), save_plain=True, plain_rank=2)
    disturb(network)
    plain = plain_of(network)
    whole = missing = 0.0
    for path, module in modules(network).items():
        difference = module.difference().detach().double().flatten(1)
        up, down = plain[f"{path}.lora_up.weight"].double(), plain[f"{path}.lora_down.weight"].double()
        assert down.shape[0] <= 2
        left = float((difference - up.flatten(1) @ down.flatten(1)).square().sum())
        nearest = float(torch.from_numpy(_singular_values(difference)[2:]).square().sum())
        assert left <= 1.01 * nearest + 1e-9
        whole, missing = whole + float(difference.square().sum()), missing + left
    share = 100 * (1 - missing / whole) ** 0.5
    (told,) = network.remarks()
    assert f" {share:.1f} % of the change" in told or abs(float(told.split(" % ")[0].split()[-1]) - share) < 0.11
    assert ("biases of 3 layers" in told) == (name == "full")


def _singular_values(matrix: Tensor) -> Any:
    import numpy as np

    return np.linalg.svd(matrix.numpy(), compute_uv=False)


def test_the_quick_search_is_as_good() -> None:
    """Where the rank is far below the layer's size, the largest values are searched for."""

    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(200, 160)

    torch.manual_seed(0)
    model = Model("sd15", {"denoiser": Wide().requires_grad_(False).eval()}, {}, {})
    network = attach(CASES["full"][0], CASES["full"][1], model, save_plain=True, plain_rank=8)
    disturb(network)
    state = torch.random.get_rng_state()
    plain = plain_of(network)
    assert torch.equal(torch.random.get_rng_state(), state)
    difference = modules(network)["layer"].difference().detach().double()
    held = plain["layer.lora_up.weight"].double() @ plain["layer.lora_down.weight"].double()
    best = float(torch.from_numpy(_singular_values(difference)[:8]).square().sum())
    assert float(held.square().sum()) > 0.99 * best


def test_what_a_lora_cannot_hold_is_told() -> None:
    for name, lacking in (("lora, with norms", "the norms of 2 layers"), ("full", "the biases of 3 layers")):
        cls, settings = CASES[name]
        network = attach(cls, settings, tiny_model(), save_plain=True, plain_rank=24)
        disturb(network)
        assert not any(".norm" in key or key.startswith("group") for key in plain_of(network))
        assert network.remarks() == [f"The plain LoRA beside it does the same, without {lacking}."]


@pytest.mark.parametrize("name", ["lora", "locon", "dylora", "tlora"])
def test_a_plain_file_needs_none_beside_it(name: str) -> None:
    cls, settings = CASES[name]
    (problem,) = cls(**settings, save_plain=True).check()  # type: ignore[call-arg]
    assert problem.path == "save_plain" and problem.replacement == {"save_plain": False}
    assert cls(**settings).beside_names() == [] and not attach(cls, settings, tiny_model()).beside(str)  # type: ignore[arg-type]


def test_the_name_of_the_file_is_known_before() -> None:
    adapter = Loha(save_plain=True)
    assert adapter.beside_names() == ["plain"] and not list(adapter.check())
