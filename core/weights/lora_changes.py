"""What a LoRA file changes in the weights of a model, for each algorithm whose change needs nothing but its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from core.contracts import Part
from core.errors import ModelFileError
from core.weights.loras import LoraFile, read_lora

if TYPE_CHECKING:
    from torch import Tensor, nn

_BIASES = {"diff_b", "b_norm"}


def bake(module: nn.Module, part: Part, family: str, path: Path, strength: float) -> LoraFile:
    """Add a LoRA's changes to the weights of a part of a model, in fp32, rounded to the weights' own dtype once.

    strength: what the change is multiplied by. Returns what was read: layers of other parts are left alone.
    ModelFileError for layers that the part doesn't have, and for algorithms that can't be added.
    """
    file = read_lora(path, {part: [name for name, _ in module.named_modules() if name]}, family)
    if file.unknown:
        raise ModelFileError(
            f"{path} changes {len(file.unknown)} layers that this base model doesn't have.",
            f"The first is {file.unknown[0]}.",
            "Choose a LoRA that was trained on a model of the same family.",
        )
    with torch.no_grad():
        for (_, name), tensors in file.layers.items():
            layer: Any = module.get_submodule(name)
            where = f"{path} ({part}.{name})"
            _add(layer.weight, weight_change(tensors, layer.weight, where), strength, where)
            for suffix in _BIASES & tensors.keys():
                _add(layer.bias, tensors[suffix], strength, where)
    return file


def _add(weight: Tensor, change: Tensor | None, strength: float, where: str) -> None:
    if change is None:
        return
    if weight is None or change.numel() != weight.numel():
        raise ModelFileError(f"{where} doesn't fit the base model.", "Its layer has another shape.", "Choose another.")
    change = change.to(weight.device).reshape(weight.shape)
    weight.copy_(weight.float() + strength * change.float())


def weight_change(tensors: Mapping[str, Tensor], weight: Tensor, where: str = "The LoRA") -> Tensor | None:
    """dW, fp32 on the weight's device, of the tensors of one layer; None if they only change its bias.

    tensors: by the suffixes of kohya and LyCORIS. LoRA (with a Tucker core or not), LoHa, LoKr, whole differences and
    norms, each with DoRA or not: W' = m (W + dW) / |W + dW|, with the norm along the axes in which m is 1 long.
    """
    known = {name: tensor.to(weight.device, torch.float32) for name, tensor in tensors.items()}
    update = _update(known)
    if update is None and not _BIASES & known.keys():
        raise ModelFileError(
            f"{where} is of an algorithm whose change can't be added to the base.",
            f"It has {', '.join(sorted(tensors))}.",
            "Bake it in with a merging program, or leave it out.",
        )
    if update is None or update.numel() != weight.numel():
        return update
    update = update.reshape(weight.shape)
    if "dora_scale" not in known:
        return update
    base = weight.float()
    sizes = known["dora_scale"].reshape(-1, *[1] * (base.dim() - 1)) if len(known["dora_scale"]) > 1 else None
    others = list(range(1, base.dim())) if sizes is not None else [0, *range(2, base.dim())]
    if sizes is None:
        sizes = known["dora_scale"].reshape(1, -1, *[1] * (base.dim() - 2))
    norms = torch.linalg.vector_norm(base + update, dim=others, keepdim=True)
    return sizes * (base + update) / norms - base


def _update(known: Mapping[str, Tensor]) -> Tensor | None:
    """The change before its decomposition, flattened or not; None if no algorithm here knows these tensors."""
    if "diff" in known or "w_norm" in known:
        return known.get("diff", known.get("w_norm"))
    if "lora_up.weight" in known:
        return _scale(known, "lora_down.weight") * _low_rank(known)
    if "hada_w1_a" in known:
        return _scale(known, "hada_w1_b") * _half(known, 1) * _half(known, 2)
    if "lokr_w1" in known or "lokr_w1_a" in known:
        return _kronecker(known)
    return None


def _scale(known: Mapping[str, Tensor], ranked: str) -> Tensor | float:
    """alpha / rank; 1 where no alpha is written."""
    return known["alpha"] / len(known[ranked]) if "alpha" in known else 1.0


def _low_rank(known: Mapping[str, Tensor]) -> Tensor:
    up, down = known["lora_up.weight"].flatten(1), known["lora_down.weight"]
    if "lora_mid.weight" in known:
        down = torch.einsum("m n ..., n i -> m i ...", known["lora_mid.weight"], down.flatten(1))
    return up @ down.flatten(1)


def _half(known: Mapping[str, Tensor], number: int) -> Tensor:
    """One factor of LoHa's product of elements."""
    a, b = known[f"hada_w{number}_a"], known[f"hada_w{number}_b"]
    if f"hada_t{number}" in known:
        return torch.einsum("i j ..., j r, i p -> p r ...", known[f"hada_t{number}"], b, a).flatten(1)
    return a @ b


def _kronecker(known: Mapping[str, Tensor]) -> Tensor:
    """LoKr's product; with both factors whole there is no rank, and the scale is 1."""
    factors, scale = [], 1.0 if "lokr_w1" in known and "lokr_w2" in known else None
    for name in ("lokr_w1", "lokr_w2"):
        if name in known:
            factors.append(known[name])
            continue
        a, b = known[f"{name}_a"], known[f"{name}_b"]
        scale = _scale(known, f"{name}_b") if scale is None else scale
        if name == "lokr_w2" and "lokr_t2" in known:
            factors.append(torch.einsum("i j ..., j r, i p -> p r ...", known["lokr_t2"], b, a))
        else:
            factors.append((a @ b.flatten(1)).reshape(len(a), *b.shape[1:]))
    first, second = factors
    first = first.reshape(*first.shape, *[1] * (second.dim() - first.dim()))
    return torch.kron(first, second.contiguous()) * (1.0 if scale is None else scale)
