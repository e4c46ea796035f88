"""The names of a CLIP text encoder's tensors in transformers, and in the files of OpenCLIP, which fuse some of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from core.weights.layouts.renaming import inverse, renamed

if TYPE_CHECKING:
    from torch import Tensor

LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}

OUTSIDE = {
    "text_model.embeddings.token_embedding": "token_embedding",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm": "ln_final",
    "text_projection.weight": "text_projection",
}

_FUSED = re.compile(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)$")
_SPLIT = re.compile(r"text_model\.encoder\.layers\.(\d+)\.self_attn\.q_proj\.(weight|bias)$")
# A count of positions, which old files keep (in fp16 ones even rounded); and OpenCLIP's temperature.
_NO_WEIGHT = ("position_ids", "logit_scale", "attn_mask")


def canonical_clip_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A text encoder's tensors under transformers' names with `text_model.` in front, whichever way they came.

    CLIPTextModel lost that prefix in transformers 5.6, and some old checkpoints never had it; every file has it.
    """
    return {clip_name(name): tensor for name, tensor in state.items() if not name.endswith(_NO_WEIGHT)}


def clip_name(name: str) -> str:
    """A module's or tensor's name with `text_model.` in front; only the projection stands outside of that."""
    return name if name.startswith(("text_model.", "text_projection")) else f"text_model.{name}"


def fit_clip_names(state: Mapping[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """Canonical tensors under the names that a text encoder here expects (the keys of its `state_dict()`)."""
    if any(name.startswith("text_model.") for name in expected):
        return dict(state)
    return {name.removeprefix("text_model."): tensor for name, tensor in state.items()}


def openclip_to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An OpenCLIP text encoder's tensors under transformers' names."""
    names = inverse(_names(state, r"transformer\.resblocks\.(\d+)\."))
    result = {}
    for name, tensor in state.items():
        if name.endswith(_NO_WEIGHT):
            continue
        if match := _FUSED.match(name):
            for letter, third in zip("qkv", tensor.chunk(3), strict=True):
                result[f"text_model.encoder.layers.{match[1]}.self_attn.{letter}_proj.{match[2]}"] = third
        elif name == "text_projection.weight":  # some merged files have it as transformers does
            result[name] = tensor
        else:
            result[renamed(name, names)] = tensor.T if name == "text_projection" else tensor
    return result


def transformers_to_openclip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A transformers text encoder's tensors under OpenCLIP's names."""
    import torch

    state = canonical_clip_names(state)
    names = _names(state, r"text_model\.encoder\.layers\.(\d+)\.")
    result = {}
    for name, tensor in state.items():
        if match := _SPLIT.match(name):
            thirds = [state[name.replace(".q_proj.", f".{letter}_proj.")] for letter in "qkv"]
            result[f"transformer.resblocks.{match[1]}.attn.in_proj_{match[2]}"] = torch.cat(thirds)
        elif ".k_proj." not in name and ".v_proj." not in name:
            result[renamed(name, names)] = tensor.T if name == "text_projection.weight" else tensor
    return result


def _names(names: Collection[str], pattern: str) -> dict[str, str]:
    """Transformers' names -> OpenCLIP's, for as many layers as the names of either have."""
    layers = {match[1] for name in names if (match := re.match(pattern, name))}
    inside = {
        f"text_model.encoder.layers.{layer}.{ours}": f"transformer.resblocks.{layer}.{theirs}"
        for layer in layers
        for ours, theirs in LAYER.items()
    }
    return OUTSIDE | inside
