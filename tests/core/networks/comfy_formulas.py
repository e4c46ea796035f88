"""What ComfyUI makes of a layer's tensors in a LoRA file, in float64: written out from its published formulas.

comfy/weight_adapter/{base,lora,loha,lokr,glora,oft,boft}.py and comfy/lora.py, at strength 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def comfy(weight: Tensor, bias: Tensor | None, file: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
    """Weight and bias after loading. file: suffix -> tensor, of this layer."""
    file = {name: tensor.double() for name, tensor in file.items()}
    weight = weight.double()
    return _weight(weight, file), _bias(bias, file)


def _bias(bias: Tensor | None, file: Mapping[str, Tensor]) -> Tensor | None:
    change = file.get("diff_b", file.get("b_norm"))
    return bias if bias is None or change is None else bias.double() + change


def _weight(weight: Tensor, file: Mapping[str, Tensor]) -> Tensor:
    if "diff" in file or "w_norm" in file:
        return weight + file.get("diff", file.get("w_norm"))  # type: ignore[arg-type]
    if "oft_blocks" in file:
        return _butterfly(weight, file) if file["oft_blocks"].dim() == 4 else _turned(weight, file)
    for reads in (_lora, _loha, _lokr, _glora):
        found = reads(weight, file)
        if found is not None:
            difference, rank = found
            scale = float(file["alpha"]) / rank if rank and "alpha" in file else 1.0
            difference = difference.reshape(weight.shape) * scale
            return _decomposed(weight, difference, file["dora_scale"]) if "dora_scale" in file else weight + difference
    return weight  # "lora key not loaded"


def _decomposed(weight: Tensor, difference: Tensor, sizes: Tensor) -> Tensor:
    """By output, ComfyUI divides by the norm of the weight without the difference."""
    changed = weight + difference
    if sizes.shape[0] == changed.shape[0]:
        norm = weight.flatten(1).norm(dim=1).reshape(-1, *[1] * (weight.dim() - 1))
    else:
        norm = changed.transpose(0, 1).flatten(1).norm(dim=1).reshape(1, -1, *[1] * (weight.dim() - 2))
    return changed * (sizes / norm)


def _lora(weight: Tensor, file: Mapping[str, Tensor]) -> tuple[Tensor, int] | None:
    if "lora_up.weight" not in file:
        return None
    up, down = file["lora_up.weight"], file["lora_down.weight"]
    rank = down.shape[0]
    if (mid := file.get("lora_mid.weight")) is not None:
        inputs = down.transpose(0, 1).flatten(1) @ mid.transpose(0, 1).flatten(1)
        down = inputs.reshape(down.shape[1], rank, *mid.shape[2:]).transpose(0, 1)
    return up.flatten(1) @ down.flatten(1), rank


def _loha(weight: Tensor, file: Mapping[str, Tensor]) -> tuple[Tensor, int] | None:
    if "hada_w1_a" not in file:
        return None
    halves = []
    for number in (1, 2):
        a, b, core = file[f"hada_w{number}_a"], file[f"hada_w{number}_b"], file.get(f"hada_t{number}")
        halves.append(a @ b if core is None else torch.einsum("ijkl,jr,ip->prkl", core, b, a))
    return halves[0] * halves[1], file["hada_w1_b"].shape[0]


def _lokr(weight: Tensor, file: Mapping[str, Tensor]) -> tuple[Tensor, int] | None:
    if not any(name.startswith("lokr_") for name in file):
        return None
    rank = 0
    first, second = file.get("lokr_w1"), file.get("lokr_w2")
    if first is None:
        rank, first = file["lokr_w1_b"].shape[0], file["lokr_w1_a"] @ file["lokr_w1_b"]
    if second is None:
        a, b, core = file["lokr_w2_a"], file["lokr_w2_b"], file.get("lokr_t2")
        rank = b.shape[0]
        second = a @ b if core is None else torch.einsum("ijkl,jr,ip->prkl", core, b, a)
    if second.dim() == 4:
        first = first[..., None, None]
    return torch.kron(first, second), rank


def _glora(weight: Tensor, file: Mapping[str, Tensor]) -> tuple[Tensor, int] | None:
    if "a1.weight" not in file:
        return None
    a1, a2, b1, b2 = (file[f"{name}.weight"].flatten(1) for name in ("a1", "a2", "b1", "b2"))
    turned = torch.einsum("oi...,ij->oj...", torch.einsum("oi...,ij->oj...", weight, a1), a2)
    return turned + (b1 @ b2).reshape(weight.shape), a2.shape[0]


def _rotations(file: Mapping[str, Tensor]) -> Tensor:
    q = file["oft_blocks"] - file["oft_blocks"].transpose(-1, -2)
    limit, norm = float(file["alpha"]), float(q.norm()) + 1e-8
    if 0 < limit < norm:
        q = q * limit / norm
    one = torch.eye(q.shape[-1], dtype=q.dtype)
    return (one + q) @ (one - q).inverse()


def _turned(weight: Tensor, file: Mapping[str, Tensor]) -> Tensor:
    """OFT: `rescale` is read and not used."""
    grouped = weight.reshape(*file["oft_blocks"].shape[:2], *weight.shape[1:])
    return torch.einsum("knm,kn...->km...", _rotations(file), grouped).reshape(weight.shape)


def _butterfly(weight: Tensor, file: Mapping[str, Tensor]) -> Tensor:
    turned = weight
    for stage, blocks in enumerate(_rotations(file)):
        size = blocks.shape[-1]
        apart = 2**stage * (size // 2)
        shuffled = turned.unflatten(0, (-1, 2, apart)).transpose(1, 2).flatten(0, 2).unflatten(0, (-1, size))
        turned = torch.einsum("bij,bj...->bi...", blocks, shuffled)
        turned = turned.flatten(0, 1).unflatten(0, (-1, apart, 2)).transpose(1, 2).flatten(0, 2)
    return turned * file["rescale"] if "rescale" in file else turned
