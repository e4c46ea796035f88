"""What the file of every algorithm does in other programs is what training did."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from lycoris import create_lycoris_from_weights
from torch import Tensor, nn

from core.contracts import Model, Network, PartLayers
from core.networks._adapter import Adapter
from core.registry import registry
from tests.core.networks.cases import CASES, RUNS, attach, disturb, modules, picture, tiny_model
from tests.core.networks.comfy_formulas import comfy

# What the programs do otherwise, as `loads_in` tells
COMFY_DIFFERS = {"lora, dora by output", "ia3", "ia3, on the input", "oft, rescaled, bound"}
LYCORIS_DIFFERS = {"lora, dora by input", "locon, tucker and dora", "loha, dora", "lokr, dora"}
LYCORIS_DIFFERS |= {"ia3", "ia3, on the input", "lokr, both of low rank", "lokr, unbalanced", "oft, large blocks"}


def trained(cls: type[Adapter], settings: dict[str, Any], steps: int = 3) -> tuple[Model, Network]:
    """A small model, trained for a few steps."""
    model = tiny_model()
    network = attach(cls, settings, model)
    disturb(network, 0.02)  # a product of two zeros has no gradient
    denoiser, x = model.parts["denoiser"].train(), picture()
    (group,) = network.groups({"denoiser": 0.02})
    optimizer = torch.optim.AdamW(group["params"], lr=group["lr"])
    for step in range(steps):
        network.before_step(torch.tensor([0.0, 0.3 * step]))
        optimizer.zero_grad()
        (denoiser(x) - torch.linspace(-1, 1, 12)).square().mean().backward()
        optimizer.step()
    denoiser.eval()
    return model, network


def by_layer(network: Network) -> dict[str, dict[str, Tensor]]:
    """Path -> suffix -> tensor of the exported file."""
    found: dict[str, dict[str, Tensor]] = {path: {} for path in modules(network)}
    for name, tensor in network.export(lambda part, path: f"{part}!{path}!").items():
        _, path, suffix = name.split("!")
        found[path][suffix.removeprefix(".")] = tensor
    return found


def untouched(model: Model, network: Network) -> nn.Module:
    """A copy of the denoiser without the network."""
    with network.disabled():
        other: Any = copy.deepcopy(model.parts["denoiser"])
    del other.ochre_network
    for layer in other.modules():
        layer.__dict__.pop("forward", None)
    return other


def in_comfy(model: Model, network: Network) -> nn.Module:
    """The model as ComfyUI has it with the file, in float64."""
    other: Any = untouched(model, network).double()
    for path, file in by_layer(network).items():
        layer: Any = other.get_submodule(path)
        weight, bias = comfy(layer.weight.data, None if layer.bias is None else layer.bias.data, file)
        layer.weight.data = weight
        if bias is not None and layer.bias is not None:
            layer.bias.data = bias
    return other


@pytest.mark.parametrize(("cls", "settings"), RUNS)
def test_comfyui_does_what_training_did(cls: type[Adapter], settings: dict[str, Any]) -> None:
    model, network = trained(cls, settings)
    seen, x = model.parts["denoiser"](picture()), picture()
    loaded = in_comfy(model, network)(x.double())
    with network.disabled():
        before = model.parts["denoiser"](x)
    assert (seen - before).abs().max() > 1e-3
    same = torch.allclose(loaded, seen.double(), rtol=1e-5, atol=1e-5)
    told = cls(**settings).loads_in()["ComfyUI"]
    if _name(cls, settings) in COMFY_DIFFERS:
        assert told and not same
    else:
        assert same, (loaded - seen).abs().max()
        assert not told or cls(**settings).name == "norms"  # those of text encoders


@pytest.mark.parametrize(("cls", "settings"), RUNS)
def test_lycoris_does_what_training_did(cls: type[Adapter], settings: dict[str, Any]) -> None:
    model, network = trained(cls, settings)
    seen, x = model.parts["denoiser"](picture()), picture()
    file = network.export(lambda part, path: f"lycoris_{path.replace('.', '_')}")
    told = cls(**settings).loads_in()["LyCORIS"]
    other = untouched(model, network)
    try:
        loaded, _ = create_lycoris_from_weights(1.0, None, other, weights_sd=file)  # type: ignore[arg-type]
        with torch.no_grad():
            loaded.apply_to()
            same = torch.allclose(other.eval()(x), seen, rtol=1e-5, atol=1e-5)
    except (TypeError, RuntimeError):
        same = False
    if _name(cls, settings) in LYCORIS_DIFFERS:
        assert told and not same
    else:
        assert same
        assert not told


def _name(cls: type[Adapter], settings: dict[str, Any]) -> str:
    return next(name for name, case in CASES.items() if case == (cls, settings))


@pytest.mark.parametrize(
    "name", ["lora, dora by input", "locon, tucker", "loha", "lokr", "dylora", "glora", "oft", "boft", "full", "norms"]
)
def test_so_it_does_on_a_real_model_that_was_trained(name: str) -> None:
    cls, settings = CASES[name]
    family = registry("families").get("sd15")()
    model = family.tiny()
    unet: Any = model.parts["denoiser"]
    torch.manual_seed(1)
    network = cls(**settings).attach(model, {"denoiser": PartLayers(family.layer_groups["denoiser"])})
    (group,) = network.groups({"denoiser": 0.01})
    optimizer = torch.optim.AdamW(group["params"], lr=group["lr"])
    x, hidden, times = torch.randn(2, 4, 8, 8), torch.randn(2, 77, 16), torch.tensor([10, 500])
    before = unet(x, times, hidden).sample.detach()
    unet.train()
    for _ in range(3):
        optimizer.zero_grad()
        (unet(x, times, hidden).sample - 1).square().mean().backward()
        optimizer.step()
    seen = unet.eval()(x, times, hidden).sample
    loaded = in_comfy(model, network)(x.double(), times, hidden.double()).sample
    torch.testing.assert_close(loaded, seen.double(), rtol=1e-4, atol=1e-5)
    assert (seen - before).abs().max() > 1e-2
