"""What diffusers does with every algorithm's file, and with the plain LoRA beside it, on a small real model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from torch import Tensor

from core.contracts import Model, Network, PartLayers
from core.families._sampling import sampler
from core.networks._adapter import Adapter
from core.networks._factored import DROPS_DORA
from core.networks._programs import REFUSED
from core.networks.locon import Locon
from core.networks.loha import Loha
from core.networks.lora import Lora
from core.registry import registry
from tests.core.networks.cases import CASES

FAMILY = registry("families").get("sd15")()
SETTINGS: dict[str, Any] = {"layers": "transformer_conv"}
TRIED = [
    "lora", "lora, rank-stabilised", "lora, trained factor", "lora, dora by input", "lora, dora by output",
    "lora, with norms", "locon", "locon, tucker", "loha", "lokr", "dylora", "glora", "ia3", "oft", "boft", "full",
]  # fmt: skip
RUNS = [pytest.param(CASES[name][0], CASES[name][1] | SETTINGS, id=name) for name in TRIED]
RUNS += [pytest.param(*CASES["norms"], id="norms")]
RUNS += [pytest.param(CASES["tlora"][0], CASES["tlora"][1] | {"layers": "transformer"}, id="tlora")]


def trained(cls: type[Adapter], settings: dict[str, Any], model: Model, **more: Any) -> Network:
    """A network on all parts that is anything but new."""
    parts = {part: PartLayers(FAMILY.layer_groups[part]) for part in ("denoiser", "text_1")}
    torch.manual_seed(1)
    network = cls(**settings, **more).attach(model, parts)
    for modules in network.modules().values():
        for parameter in modules.parameters():
            if parameter.requires_grad:
                parameter.data += torch.randn(parameter.shape) * 0.03
    return network


def pipeline_with(model: Model, network: Network, file: dict[str, Tensor]) -> Any:
    """diffusers' pipeline around the untouched parts, with the file loaded."""
    parts: Any = copy.deepcopy(FAMILY.tiny().parts)
    without: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    pipeline = StableDiffusionPipeline(
        vae=parts["vae"],
        text_encoder=parts["text_1"],
        tokenizer=model.tokenizers["text_1"],
        unet=parts["denoiser"],
        scheduler=sampler(model),
        **without,
    )
    pipeline.load_lora_weights(file)
    return pipeline


def outputs(unet: Any, text: Any) -> Tensor:
    """What a UNet and a text encoder make of something, in one row."""
    generator = torch.Generator().manual_seed(4)
    hidden, x = torch.randn(2, 77, 16, generator=generator), torch.randn(2, 4, 8, 8, generator=generator)
    with torch.no_grad():
        seen = unet(x, torch.tensor([10, 500]), encoder_hidden_states=hidden).sample
        told = text(torch.arange(77).reshape(1, -1)).last_hidden_state
    return torch.cat((seen.flatten(), told.flatten()))


def names(model: Model) -> Callable[[str, str], str]:
    return lambda part, path: FAMILY.lora_name(model, part, path)


@pytest.mark.parametrize(("cls", "settings"), RUNS)
def test_diffusers_does_with_a_file_what_is_told(cls: type[Adapter], settings: dict[str, Any]) -> None:
    model = FAMILY.tiny()
    network = trained(cls, settings, model)
    told = cls(**settings).loads_in()["diffusers"]
    file = network.export(names(model))
    if told == REFUSED:
        with pytest.raises((ValueError, KeyError, RuntimeError)):
            pipeline_with(model, network, file)
        return
    pipeline = pipeline_with(model, network, file)
    ours = outputs(model.parts["denoiser"], model.parts["text_1"])
    theirs = outputs(pipeline.unet, pipeline.text_encoder)
    same = torch.allclose(theirs, ours, rtol=1e-4, atol=1e-4)
    assert same == (told == ""), (theirs - ours).abs().max()
    assert told in ("", DROPS_DORA)


@pytest.mark.parametrize("name", ["loha", "glora", "lokr, dora", "boft", "ia3"])
def test_the_plain_lora_beside_it_does_the_same(name: str) -> None:
    """With the ranks of the small model's layers, which are at most 256, it is exact."""
    cls, settings = CASES[name]
    model = FAMILY.tiny()
    network = trained(cls, settings | SETTINGS, model, save_plain=True, plain_rank=256)
    plain = network.beside(names(model))["plain"]
    assert network.remarks() == ["The plain LoRA beside it does the same."]
    pipeline = pipeline_with(model, network, plain)
    ours = outputs(model.parts["denoiser"], model.parts["text_1"])
    torch.testing.assert_close(outputs(pipeline.unet, pipeline.text_encoder), ours, rtol=1e-3, atol=2e-4)
    with network.disabled():
        before = outputs(model.parts["denoiser"], model.parts["text_1"])
    assert (ours - before).abs().max() > 0.02


@pytest.mark.parametrize("layers", ["linear", "all"])
def test_layers_outside_of_the_blocks_load_too(layers: str) -> None:
    model = FAMILY.tiny()
    network = trained(Lora, {"rank": 2, "alpha": 3.0, "layers": layers}, model)
    pipeline = pipeline_with(model, network, network.export(names(model)))
    ours = outputs(model.parts["denoiser"], model.parts["text_1"])
    torch.testing.assert_close(outputs(pipeline.unet, pipeline.text_encoder), ours, rtol=1e-4, atol=1e-4)


def test_a_plain_lora_of_low_rank_is_nearer_than_none() -> None:
    model = FAMILY.tiny()
    network = trained(Loha, {"rank": 4, "alpha": 2.0, **SETTINGS}, model, save_plain=True, plain_rank=4)
    pipeline = pipeline_with(model, network, network.beside(names(model))["plain"])
    ours = outputs(model.parts["denoiser"], model.parts["text_1"])
    with network.disabled():
        before = outputs(model.parts["denoiser"], model.parts["text_1"])
    assert (outputs(pipeline.unet, pipeline.text_encoder) - ours).norm() < 0.7 * (ours - before).norm()


def test_layers_of_several_ranks_and_alphas_load_as_trained() -> None:
    """diffusers gives attention layers the alpha that most have, whatever theirs is: so all have one in the file."""
    model = FAMILY.tiny()
    rules = [
        {"pattern": "attn2", "rank": 4, "alpha": 1.0},
        {"pattern": "to_q", "alpha": 5.0},
        {"pattern": "fc1", "rank": 1},
    ]
    network = trained(Locon, {"rank": 2, "alpha": 3.0, "conv_rank": 3, "conv_alpha": 0.5, "rules": rules}, model)
    file = network.export(names(model))
    assert len({float(tensor) for name, tensor in file.items() if name.endswith(".alpha")}) == 1
    assert len({len(tensor) for name, tensor in file.items() if name.endswith(".lora_down.weight")}) == 4
    pipeline = pipeline_with(model, network, file)
    ours = outputs(model.parts["denoiser"], model.parts["text_1"])
    torch.testing.assert_close(outputs(pipeline.unet, pipeline.text_encoder), ours, rtol=1e-4, atol=1e-4)
