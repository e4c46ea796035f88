"""The layer groups name the same layers of the real models as kohya's trainer does."""

import re
from pathlib import Path

import pytest
from torch import nn

from core.families._loading import build_part
from core.families._stable_diffusion import CONFIGS

FOLDERS = {"denoiser": "unet", "text_1": "text_encoder", "text_2": "text_encoder_2"}
GOLDEN = Path(__file__).parents[2] / "golden"

# What kohya's trainer logs for its default LoRA, and with conv_dim; attention: 4 layers in each, feed-forward: 2 for
# each two attentions of a UNet, or each one of a text encoder.
COUNTS = {
    ("sd15", "denoiser"): {"attention": 128, "feed_forward": 32, "transformer": 192, "convolution": 278 - 192},
    ("sd15", "text_1"): {"attention": 48, "feed_forward": 24, "transformer": 72},
    ("sdxl", "denoiser"): {"attention": 560, "feed_forward": 140, "transformer": 722, "convolution": 788 - 722},
    ("sdxl", "text_1"): {"attention": 48, "feed_forward": 24, "transformer": 72},
    ("sdxl", "text_2"): {"attention": 128, "feed_forward": 64, "transformer": 192},
}


@pytest.fixture(scope="module")
def real(family):
    """Part -> module of the real size, without memory for its weights."""
    parts = {part: CONFIGS / family.name / FOLDERS[part] for part in family.layer_groups}
    return {part: build_part(part, config) for part, config in parts.items()}


def layers(module, pattern):
    return [
        (path, layer)
        for path, layer in module.named_modules()
        if isinstance(layer, (nn.Linear, nn.Conv2d)) and re.search(pattern, path)
    ]


def test_counts_are_kohyas(family, real):
    for part, groups in family.layer_groups.items():
        found = {group: len(layers(real[part], pattern)) for group, pattern in groups.items()}
        assert found == COUNTS[family.name, part]


def test_the_groups_are_kohyas_classes(family, real):
    """By class instead of by path: everything inside a Transformer2DModel; resnets and samplers."""
    unet = real["denoiser"]
    classes = {
        "feed_forward": {"FeedForward"},
        "transformer": {"Transformer2DModel"},
        "convolution": {"ResnetBlock2D", "Downsample2D", "Upsample2D"},
    }
    for group, names in classes.items():
        inside = {
            f"{path}.{inner}"
            for path, module in unet.named_modules()
            if type(module).__name__ in names
            for inner, layer in module.named_modules()
            if isinstance(layer, (nn.Linear, nn.Conv2d))
        }
        assert {path for path, _ in layers(unet, family.layer_groups["denoiser"][group])} == inside


def test_attention_lies_within_transformer(family, real):
    for part, groups in family.layer_groups.items():
        whole = {path for path, _ in layers(real[part], groups["transformer"])}
        inner = [{path for path, _ in layers(real[part], groups[name])} for name in ("attention", "feed_forward")]
        assert inner[0] < whole
        assert inner[1] < whole
        assert not inner[0] & inner[1]


def test_names_are_the_golden_ones(family, real):
    golden = set((GOLDEN / f"lora_names_{family.name}.txt").read_text().split())
    model = family.tiny()
    model.parts |= real
    for part, groups in family.layer_groups.items():
        for path, _ in layers(real[part], "|".join(groups.values())):
            assert family.lora_name(model, part, path) in golden


def test_tiny_models_have_the_real_blocks(family, real):
    tiny = family.tiny().parts["denoiser"]
    for group, pattern in family.layer_groups["denoiser"].items():
        kinds = {re.sub(r"\d+", "N", path) for path, _ in layers(real["denoiser"], pattern)}
        assert {re.sub(r"\d+", "N", path) for path, _ in layers(tiny, pattern)} == kinds, group
