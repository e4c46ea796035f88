"""The blocks are those of LDM's `input_blocks`, `middle_block` and `output_blocks`, by diffusers' own conversion."""

import re

import pytest
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from torch import nn

from core.families._loading import build_part
from core.families._stable_diffusion import CONFIGS
from core.weights.layouts.unet import unet_to_original

FOLDERS = {"denoiser": "unet", "text_1": "text_encoder", "text_2": "text_encoder_2"}
COUNTS = {
    ("sd15", "denoiser"): 12 + 1 + 12 + 1,
    ("sd15", "text_1"): 12 + 1,
    ("sdxl", "denoiser"): 9 + 1 + 9 + 1,
    ("sdxl", "text_1"): 12 + 1,
    ("sdxl", "text_2"): 32 + 1,
}


@pytest.fixture(scope="module")
def real(family):
    """Part -> module of the real size, without memory for its weights."""
    parts = {part: CONFIGS / family.name / FOLDERS[part] for part in family.layer_groups}
    return {part: build_part(part, config) for part, config in parts.items()}


def block_of(family, part, path):
    found = [block for block, pattern in family.blocks[part].items() if re.search(pattern, path)]
    assert len(found) == 1, f"{path} is in {found or 'no block'}"
    return found[0]


def ldm_block(name):
    """The name that merging programs give to the block of a tensor in an LDM file."""
    if match := re.match(r"(input|output)_blocks\.(\d+)\.", name):
        return {"input": "IN", "output": "OUT"}[match[1]] + f"{int(match[2]):02}"
    return "MID" if name.startswith("middle_block.") else "BASE"


def test_every_layer_is_in_one_block_and_every_block_has_layers(family, real):
    for part, module in real.items():
        leaves = [path for path, inner in module.named_modules() if not list(inner.children())]
        assert {block_of(family, part, path) for path in leaves} == set(family.blocks[part])
        assert len(family.blocks[part]) == COUNTS[family.name, part]


def test_a_unets_blocks_are_those_of_the_original_file(family):
    """diffusers reads our LDM file back: tensor by tensor, its name here and there."""
    unet = family.tiny().parts["denoiser"]
    original = unet_to_original(unet.state_dict())
    places = {tensor.data_ptr(): name for name, tensor in original.items()}
    prefixed = {f"model.diffusion_model.{name}": tensor for name, tensor in original.items()}
    converted = convert_ldm_unet_checkpoint(prefixed, unet.config)
    assert set(converted) == set(unet.state_dict())
    for name, tensor in converted.items():
        assert block_of(family, "denoiser", name.rpartition(".")[0]) == ldm_block(places[tensor.data_ptr()])


def test_an_encoders_blocks_are_its_layers_from_first_to_last(family, real):
    for part in family.text_parts:
        config = real[part].config
        names = [f"TE{layer:02}" for layer in range(config.num_hidden_layers)]
        assert list(family.blocks[part]) == [*names, "BASE"]
        layers = [(path, inner) for path, inner in real[part].named_modules() if isinstance(inner, nn.Linear)]
        for path, _ in layers:
            number = re.search(r"layers\.(\d+)\.", path)
            assert block_of(family, part, path) == (f"TE{int(number[1]):02}" if number else "BASE")
