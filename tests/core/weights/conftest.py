"""Small models of the shipped configs' topology: as many blocks as the real ones, a few channels each."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from core.weights.clip_tokenizer import clip_tokenizer

CONFIGS = Path(__file__).parents[3] / "core" / "families" / "configs"

TEXT_SMALL = {"hidden_size": 24, "intermediate_size": 48, "num_attention_heads": 2, "num_hidden_layers": 3}
TEXT_LARGE = {
    "hidden_size": 40, "intermediate_size": 80, "num_attention_heads": 2, "num_hidden_layers": 10, "projection_dim": 40,
}  # fmt: skip
VAE = {"block_out_channels": [8, 16, 16, 16], "norm_num_groups": 4}

NARROW = {
    "sd15": {
        "unet": {"block_out_channels": [16, 32, 32, 32], "norm_num_groups": 8, "attention_head_dim": 2,
                 "cross_attention_dim": 24, "sample_size": 8},
        "vae": VAE,
        "text_encoder": TEXT_SMALL,
    },
    "sdxl": {
        "unet": {"block_out_channels": [16, 32, 32], "norm_num_groups": 8, "attention_head_dim": [2, 4, 4],
                 "cross_attention_dim": 64, "sample_size": 8, "transformer_layers_per_block": [1, 2, 3],
                 "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 6 * 8 + 40},
        "vae": VAE,
        "text_encoder": TEXT_SMALL,
        "text_encoder_2": TEXT_LARGE,
    },
}  # fmt: skip

FOLDERS = {"denoiser": "unet", "vae": "vae", "text_1": "text_encoder", "text_2": "text_encoder_2"}


def build_parts(folder: Path) -> dict[str, nn.Module]:
    """The models of a folder of configs, with fresh weights, on the current default device."""
    unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder / "unet"))
    parts = {"denoiser": unet, "vae": AutoencoderKL.from_config(AutoencoderKL.load_config(folder / "vae"))}
    parts["text_1"] = CLIPTextModel(CLIPTextConfig.from_pretrained(folder / "text_encoder"))
    if (folder / "text_encoder_2").exists():
        parts["text_2"] = CLIPTextModelWithProjection(CLIPTextConfig.from_pretrained(folder / "text_encoder_2"))
    return {part: model.eval() for part, model in parts.items()}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session", params=["sd15", "sdxl"])
def family(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def tiny_folder(family, tmp_path_factory) -> Path:
    """The shipped configs with narrow layers, and the tokenizers, as a diffusers folder without weights."""
    folder = tmp_path_factory.mktemp(family)
    for source in (CONFIGS / family).rglob("*.json"):
        config = json.loads(source.read_text()) | NARROW[family].get(source.parent.name, {})
        target = folder / source.relative_to(CONFIGS / family)
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(config))
    clip_tokenizer().save_pretrained(folder / "tokenizer")
    if family == "sdxl":
        clip_tokenizer("!").save_pretrained(folder / "tokenizer_2")
    return folder


@pytest.fixture(scope="session")
def tiny_parts(tiny_folder) -> dict[str, nn.Module]:
    """Part -> small model with random weights, biases and norms included."""
    parts = build_parts(tiny_folder)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for model in parts.values():
            for weight in model.parameters():
                if weight.ndim == 1:
                    weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return parts


@pytest.fixture(scope="session")
def real_parts(family) -> dict[str, nn.Module]:
    """Part -> model of the real size, without memory for its weights."""
    with torch.device("meta"):
        return build_parts(CONFIGS / family)
