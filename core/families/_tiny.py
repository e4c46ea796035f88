"""Builds small models of a family's real topology: every block and every name of the real one, few channels each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.contracts import Model, Part
from core.families._unet_facts import VARIANTS

_VAE = {"block_out_channels": [8, 16, 16, 16], "norm_num_groups": 4, "sample_size": 64}
_TEXT = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 3}

# GroupNorm fails where a group has a single value, so there are more channels than groups. The two text encoders of
# SDXL have different widths, because some programs tell them apart by that.
_NARROW: Mapping[str, Mapping[Part, Mapping[str, Any]]] = {
    "sd15": {
        "denoiser": {
            "block_out_channels": [16, 32, 32, 32], "norm_num_groups": 8, "attention_head_dim": 2,
            "cross_attention_dim": 16, "sample_size": 8,
        },
        "vae": _VAE,
        "text_1": _TEXT,
    },
    "sdxl": {
        "denoiser": {
            "block_out_channels": [16, 32, 32], "norm_num_groups": 8, "attention_head_dim": [2, 4, 4],
            "cross_attention_dim": 40, "sample_size": 8, "transformer_layers_per_block": [1, 1, 2],
            "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 6 * 8 + 24,
        },
        "vae": _VAE,
        "text_1": _TEXT,
        "text_2": {**_TEXT, "hidden_size": 24, "projection_dim": 24},
    },
}  # fmt: skip


def tiny_config(family: str, part: Part, configs: Path, variant: str = "base") -> dict[str, Any]:
    """A part's config, made narrow."""
    from core.families._loading import FOLDERS

    config = json.loads((configs / FOLDERS[part] / "config.json").read_text(encoding="utf-8"))
    channels = {"in_channels": VARIANTS[variant]} if part == "denoiser" else {}
    return {**config, **_NARROW[family][part], **channels}


def build_tiny(family: str, configs: Path, parts: Sequence[Part], variant: str = "base") -> Model:
    """The model with random weights, the same each time; the process's generator is left as it was."""
    import torch

    from core.families._loading import BUILDERS, TOKENIZERS, load_tokenizer, noise_schedule

    model = Model(family, {}, {}, noise_schedule(configs, configs), inpainting=variant == "inpainting")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for part in parts:
            model.parts[part] = BUILDERS[part](tiny_config(family, part, configs, variant)).eval().requires_grad_(False)
            if part in TOKENIZERS:
                model.tokenizers[part] = load_tokenizer(configs, part)
    return model
