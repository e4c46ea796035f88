"""Says what a weights file or a diffusers folder seems to be that no family knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.contracts import Header

# How names of tensors end or begin, and what a file is that has one. The first that fits counts: a LoRA's names hold
# the names of the model that it is for.
_ENDINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "a LoRA (or LoHa, LoKr ...), which changes a model and is none by itself",
        (
            ".lora_down.weight", ".lora_up.weight", ".lora_A.weight", ".lora_B.weight", ".lora.down.weight",
            ".hada_w1_a", ".lokr_w1", ".lokr_w1_a", ".oft_blocks", ".dora_scale", ".a1.weight",
        ),
    ),
)  # fmt: skip

_BEGINNINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("a ControlNet", ("control_model.", "controlnet_", "input_hint_block.", "controlnet_cond_embedding.")),
    ("an IP-Adapter", ("ip_adapter.", "image_proj.")),
    ("an embedding (textual inversion)", ("emb_params", "clip_g", "clip_l", "string_to_param")),
    ("a Chroma model", ("distilled_guidance_layer.", "model.diffusion_model.distilled_guidance_layer.")),
    ("a Flux model", ("double_blocks.0.img_attn.", "model.diffusion_model.double_blocks.0.img_attn.",
                      "single_transformer_blocks.")),
    ("a Stable Diffusion 3 model", ("joint_blocks.", "model.diffusion_model.joint_blocks.")),
    ("an AuraFlow model", ("double_layers.", "model.double_layers.")),
    ("a Lumina 2 or Z-Image model", ("context_refiner.", "model.diffusion_model.context_refiner.")),
    ("a Stable Diffusion 2 model", ("cond_stage_model.model.transformer.",)),
    ("a T5 text encoder", ("encoder.block.0.layer.0.SelfAttention.",)),
    ("a CLIP text encoder", ("text_model.encoder.layers.", "encoder.layers.0.self_attn.",
                             "transformer.resblocks.0.attn.")),
    ("a VAE", ("encoder.conv_in.", "first_stage_model.encoder.conv_in.", "decoder.conv_in.")),
    ("an upscaler", ("model.0.weight", "conv_first.weight")),
)  # fmt: skip


def file_kind(header: Header) -> str:
    """What a file seems to be: `a VAE`; empty if nothing in it is familiar."""
    for kind, endings in _ENDINGS:
        if any(name.endswith(endings) for name in header.tensors):
            return kind
    for kind, beginnings in _BEGINNINGS:
        if any(name.startswith(beginnings) for name in header.tensors):
            return kind
    if any("transformer_blocks." in name or "input_blocks." in name for name in header.tensors):
        return "a part of a diffusion model of a kind that Ochre doesn't know"
    return ""


def folder_kind(index: Mapping[str, Any], configs: Mapping[str, Mapping[str, Any]]) -> str:
    """What a diffusers folder seems to be."""
    if configs.get("unet", {}).get("cross_attention_dim") == 1024:
        return "a Stable Diffusion 2 model"
    return f"a {index['_class_name']} of diffusers" if "_class_name" in index else ""
