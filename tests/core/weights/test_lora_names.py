"""LoRA names: the golden lists (made with LyCORIS' own renaming), ComfyUI's rule, and diffusers' readers."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import (
    _convert_non_diffusers_lora_to_diffusers,
    _maybe_map_sgm_blocks_to_diffusers,
)
from lycoris.utils import convert_diffusers_name_to_compvis
from torch import nn

from core.weights.layouts import UNetShape, join_single_file, kohya_lora_modules, kohya_lora_name

GOLDEN = Path(__file__).parents[2] / "golden"

PREFIXES = {"sd15": {"text_1": "lora_te_"}, "sdxl": {"text_1": "lora_te1_", "text_2": "lora_te2_"}}


def layers(model):
    return [path for path, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))]


def trained(parts):
    """(part, module path) of every linear and convolution layer that a LoRA may change."""
    return [(part, path) for part, model in parts.items() if part != "vae" for path in layers(model)]


def test_the_real_models_names_are_the_golden_ones(family, real_parts):
    golden = (GOLDEN / f"lora_names_{family}.txt").read_text().split()
    assert [kohya_lora_name(part, path, family) for part, path in trained(real_parts)] == golden


def test_kohyas_own_counts_of_modules(family, real_parts):
    """kohya's trainer logs how many modules its default LoRA has; these are the numbers that everybody sees."""
    names = (GOLDEN / f"lora_names_{family}.txt").read_text().split()
    inside = re.compile(r"_(proj_in|proj_out|transformer_blocks_.*)$")
    assert sum(name.startswith("lora_unet_") and bool(inside.search(name)) for name in names) == (
        192 if family == "sd15" else 722
    )
    for part, prefix in PREFIXES[family].items():
        count = sum(name.startswith(f"{prefix}text_model_encoder_layers_") for name in names)
        assert count == {"text_1": 72, "text_2": 192}[part]


def test_lycoris_gives_the_same_names(family, real_parts):
    for path in layers(real_parts["denoiser"]):
        if path.startswith("add_embedding"):  # LyCORIS leaves these as they are
            continue
        theirs = "lora_unet_" + path.replace(".", "_")
        if family == "sdxl":
            theirs = convert_diffusers_name_to_compvis(theirs)
        assert kohya_lora_name("denoiser", path, family) == theirs


def test_comfyui_finds_every_name(family, real_parts):
    """ComfyUI's map: `lora_unet_` and a weight's name in the single file, or in diffusers, with underscores."""
    prefix = "model.diffusion_model."
    unet = real_parts["denoiser"].state_dict()
    single = unet if family == "sd15" else join_single_file({"denoiser": unet}, family)
    known = {"lora_unet_" + name.removeprefix(prefix).removesuffix(".weight").replace(".", "_") for name in single}
    assert {kohya_lora_name("denoiser", path, family) for path in layers(real_parts["denoiser"])} <= known


@pytest.mark.parametrize("kind", [nn.Linear, nn.Conv2d])
def test_diffusers_reads_every_name_as_the_module_it_is(family, real_parts, kind):
    unet = real_parts["denoiser"]
    paths = {
        "unet": [path for path, module in unet.named_modules() if isinstance(module, kind)],
        "text_encoder": layers(real_parts["text_1"]) if kind is nn.Linear else [],
        "text_encoder_2": layers(real_parts["text_2"]) if kind is nn.Linear and family == "sdxl" else [],
    }
    part_of = {"unet": "denoiser", "text_encoder": "text_1", "text_encoder_2": "text_2"}
    state, expected = {}, {}
    for component, part in part_of.items():
        for path in paths[component]:
            name, mark = kohya_lora_name(part, path, family), torch.tensor(float(len(expected)))
            state |= {f"{name}.lora_down.weight": mark, f"{name}.lora_up.weight": mark}
            path = path.removeprefix("text_model.")
            expected[component + "." + path] = mark
    if family == "sdxl":
        state = _maybe_map_sgm_blocks_to_diffusers(state, SimpleNamespace(layers_per_block=2))
    converted, _ = _convert_non_diffusers_lora_to_diffusers(state)
    found = {module_of(name): mark for name, mark in converted.items() if ".down." in name}
    assert found == expected


def module_of(name):
    """The module path behind a name of diffusers' older LoRA format."""
    name = name.replace(".processor.", ".").replace(".text_model.", ".")
    path = re.sub(r"(_lora|\.lora|\.lora_linear_layer)\.down\.weight$", "", name)
    if path.startswith("text"):
        return re.sub(r"self_attn\.to_(q|k|v|out)$", r"self_attn.\1_proj", path)
    return re.sub(r"to_out$", "to_out.0", path)


def test_the_smaller_unet_keeps_to_its_own_shape(family, tiny_parts):
    """A name that is asked for with the UNet's shape is the single file's, whatever the number of blocks."""
    unet = tiny_parts["denoiser"]
    names = [name for name, _ in unet.named_modules()]
    shape = UNetShape.of_diffusers(names)
    assert [kohya_lora_name("denoiser", path, family, shape) for path in names] == [
        kohya_lora_name("denoiser", path, family) for path in names
    ]
    one_layer = UNetShape(levels=2, layers=1, attended=frozenset({0}))
    name = kohya_lora_name("denoiser", "up_blocks.1.resnets.0.conv1", family, one_layer)
    assert (
        name
        == {
            "sd15": "lora_unet_up_blocks_1_resnets_0_conv1",
            "sdxl": "lora_unet_output_blocks_2_0_in_layers_2",
        }[family]
    )


def test_text_encoder_names_are_the_same_with_and_without_text_model(family):
    flat = kohya_lora_name("text_1", "encoder.layers.0.self_attn.q_proj", family)
    wrapped = kohya_lora_name("text_1", "text_model.encoder.layers.0.self_attn.q_proj", family)
    assert flat == wrapped == PREFIXES[family]["text_1"] + "text_model_encoder_layers_0_self_attn_q_proj"


def test_names_made_elsewhere_lead_back_to_the_modules(family, tiny_parts):
    for part in [part for part in tiny_parts if part != "vae"]:
        paths = [path for path, _ in tiny_parts[part].named_modules() if path]
        found = kohya_lora_modules(part, paths, family)
        assert {path: found[kohya_lora_name(part, path, family)] for path in paths} == {path: path for path in paths}
        prefix = "lora_unet_" if part == "denoiser" else PREFIXES[family][part]
        for path in paths:
            assert found[prefix + path.replace(".", "_")] == path
            assert found["lycoris_" + path.replace(".", "_")] == path
    unet = kohya_lora_modules("denoiser", [path for path, _ in tiny_parts["denoiser"].named_modules()], family)
    assert unet["lora_unet_middle_block_1_proj_in"] == "mid_block.attentions.0.proj_in"
    assert unet["lora_unet_mid_block_attentions_0_proj_in"] == "mid_block.attentions.0.proj_in"
