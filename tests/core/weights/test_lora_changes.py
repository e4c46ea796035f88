"""LoRAs of several algorithms, added to weights: against LyCORIS' own modules, and diffusers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from lycoris.modules.full import FullModule
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from lycoris.modules.norms import NormModule
from safetensors.torch import save_file
from torch import nn

from core.contracts import PartLayers
from core.errors import ModelFileError
from core.families._sampling import sampler
from core.networks.lora import Lora
from core.registry import registry
from core.weights.lora_changes import bake, weight_change

LAYERS = {
    "linear": lambda: nn.Linear(12, 8),
    "conv": lambda: nn.Conv2d(12, 8, 3),
    "one": lambda: nn.Conv2d(12, 8, 1),
    "norm": lambda: nn.GroupNorm(2, 8),
}
MODULES: list[tuple[str, Any, dict[str, Any]]] = [
    ("linear", LoConModule, {}),
    ("conv", LoConModule, {}),
    ("one", LoConModule, {}),
    ("conv", LoConModule, {"use_tucker": True}),
    ("linear", LoConModule, {"weight_decompose": True, "wd_on_out": True}),
    ("conv", LoConModule, {"weight_decompose": True, "wd_on_out": True}),
    ("linear", LoConModule, {"weight_decompose": True, "wd_on_out": False}),
    ("linear", LohaModule, {}),
    ("conv", LohaModule, {}),
    ("conv", LohaModule, {"use_tucker": True}),
    ("linear", LokrModule, {"factor": 2}),
    ("conv", LokrModule, {"factor": 2}),
    ("conv", LokrModule, {"factor": 2, "use_tucker": True}),
    ("linear", LokrModule, {"factor": 4, "decompose_both": True, "lora_dim": 1}),
    ("linear", LokrModule, {"full_matrix": True}),
    ("linear", FullModule, {}),
    ("norm", NormModule, {}),
]


@pytest.mark.parametrize(("kind", "algorithm", "options"), MODULES)
def test_the_weight_is_what_lycoris_calculates_with(kind: str, algorithm: Any, options: dict[str, Any]) -> None:
    """By the outputs of LyCORIS' own module: its `get_diff_weight` scales LoHa and LoKr twice."""
    torch.manual_seed(3)
    layer = LAYERS[kind]()
    plain = copy.deepcopy(layer)
    sizes = {} if algorithm in (FullModule, NormModule) else {"lora_dim": 2, "alpha": 3.0}
    module = algorithm("x", layer, 1.0, **(sizes | options))
    module.apply_to()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.add_(torch.randn(parameter.shape) * (0.05 if name == "dora_scale" else 0.3))
    tensors = {name: tensor.detach() for name, tensor in module.state_dict().items()}
    change = weight_change(tensors, plain.weight)
    assert change is not None
    x = torch.randn(3, 12) if kind == "linear" else torch.randn(2, 8 if kind == "norm" else 12, 6, 6)
    expected = layer(x)
    with torch.no_grad():
        plain.weight.add_(change)
        for name in {"diff_b", "b_norm"} & tensors.keys():
            plain.bias.add_(tensors[name])
    torch.testing.assert_close(plain(x), expected, rtol=1e-4, atol=1e-5)


def test_what_is_not_known_is_an_error() -> None:
    with pytest.raises(ModelFileError, match="oft_blocks"):
        weight_change({"oft_blocks": torch.zeros(2, 2, 2)}, torch.zeros(4, 4))


# -- whole files


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """SD 1.5, and a LoRA of its denoiser and text encoder."""
    family = registry("families").get("sd15")()
    model, parts = family.tiny(), ("denoiser", "text_1")
    found = {part: PartLayers(family.layer_groups[part]) for part in parts}
    network: Any = Lora(rank=2, alpha=3.0).attach(model, found)
    generator = torch.Generator().manual_seed(1)
    for tensor in network.state().values():
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.2)
    path = tmp_path_factory.mktemp("lora") / "lora.safetensors"
    save_file(network.export(lambda part, layer: family.lora_name(model, part, layer)), path)
    return family, path


def test_it_is_what_diffusers_fuses(made: tuple[Any, Path]) -> None:
    """fuse_lora with the same strength: every weight of both parts."""
    family, path = made
    model, other = family.tiny(), family.tiny()
    without: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    parts = {"vae": other.parts["vae"], "unet": other.parts["denoiser"], "text_encoder": other.parts["text_1"]}
    pipeline: Any = StableDiffusionPipeline(
        **parts, tokenizer=other.tokenizers["text_1"], scheduler=sampler(other), **without
    )
    pipeline.load_lora_weights(str(path))
    pipeline.fuse_lora(lora_scale=0.6)
    pipeline.unload_lora_weights()
    before = {part: copy.deepcopy(model.parts[part].state_dict()) for part in ("denoiser", "text_1")}
    for part, module in (("denoiser", pipeline.unet), ("text_1", pipeline.text_encoder)):
        bake(model.parts[part], part, "sd15", path, 0.6)
        ours, theirs = model.parts[part].state_dict(), module.state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-5) for name in ours)
        changed = {name for name in ours if not torch.equal(ours[name], before[part][name])}
        assert len(changed) == {"denoiser": 192, "text_1": 18}[part]


def test_a_bf16_weight_is_rounded_once(made: tuple[Any, Path]) -> None:
    family, path = made
    exact, rounded = family.tiny().parts["denoiser"].bfloat16().float(), family.tiny().parts["denoiser"].bfloat16()
    bake(exact, "denoiser", "sd15", path, 1.0)
    bake(rounded, "denoiser", "sd15", path, 1.0)
    for name, weight in exact.state_dict().items():
        assert torch.equal(weight.bfloat16(), rounded.state_dict()[name]), name


def test_a_file_of_another_family_is_an_error(made: tuple[Any, Path]) -> None:
    other = registry("families").get("sdxl")().tiny()
    with pytest.raises(ModelFileError, match="layers that this base model doesn't have"):
        bake(other.parts["denoiser"], "denoiser", "sdxl", made[1], 1.0)
