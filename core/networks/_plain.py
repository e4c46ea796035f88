"""A plain LoRA of the same effect, for programs that load nothing else: exact where there is one, else the nearest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from core.networks._modules.change import Change, exact
from core.networks._modules.norm import NormChange


@dataclass(frozen=True)
class Plain:
    """A plain LoRA.

    tensors: of its file. share: of the whole change that it holds: the norm of what it holds / the norm of all (each
    of all layers together, as one vector). norms, biases: how many layers of these it can't hold.
    """

    tensors: dict[str, Tensor]
    share: float
    norms: int
    biases: int

    def told(self) -> str:
        """What the user should know of it."""
        text = "The plain LoRA beside it does the same"
        if self.share < 0.9999:
            text = f"The plain LoRA beside it holds {100 * self.share:.1f} % of the change (by norm)"
        lacking = [f"the norms of {self.norms} layers"] if self.norms else []
        lacking += [f"the biases of {self.biases} layers"] if self.biases else []
        return f"{text}, without {' and '.join(lacking)}." if lacking else f"{text}."


def plain_lora(changes: Iterable[tuple[str, Change]], rank: int) -> Plain:
    """A plain LoRA of the changes, each layer of so much rank at most.

    changes: the layers' names in the file, and what is trained of them.
    """
    tensors: dict[str, Tensor] = {}
    whole = lost = 0.0
    norms = biases = 0
    for name, change in changes:
        if isinstance(change, NormChange):
            norms += 1
            continue
        biases += change.bias_difference() is not None
        up, down, size, missing = _halves(change, rank)
        whole, lost = whole + size, lost + missing
        ends = [1] * (len(change.shape) - 2)
        tensors[f"{name}.alpha"] = torch.tensor(float(len(down)))  # a scale of 1
        tensors[f"{name}.lora_down.weight"] = down.reshape(len(down), *change.shape[1:]).cpu().contiguous()
        tensors[f"{name}.lora_up.weight"] = up.reshape(*up.shape, *ends).cpu().contiguous()
    tensors = with_one_alpha(tensors)
    return Plain(tensors, math.sqrt(max(0.0, 1 - lost / whole)) if whole else 1.0, norms, biases)


def with_one_alpha(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a LoRA's file; with one alpha for all layers, and the same effect, if attentions have others.

    diffusers 0.42 looks for the alphas of attention layers under names that its model doesn't have, and gives these
    layers the alpha that most have.
    """
    layers = {name.removesuffix(".lora_up.weight") for name in tensors if name.endswith(".lora_up.weight")}
    alphas = {layer: float(tensors[f"{layer}.alpha"]) for layer in layers}
    usual = max(Counter(alphas.values()).items(), key=lambda found: (found[1], found[0]), default=(1.0, 0))[0]
    if not any("attn" in layer and alpha != usual for layer, alpha in alphas.items()):
        return dict(tensors)
    changed = dict(tensors)
    for layer, alpha in alphas.items():
        changed[f"{layer}.alpha"] = torch.tensor(usual)
        changed[f"{layer}.lora_up.weight"] = tensors[f"{layer}.lora_up.weight"] * (alpha / usual)
    return changed


@torch.no_grad()
def _halves(change: Change, rank: int) -> tuple[Tensor, Tensor, float, float]:
    """Up (out, k) and down (k, in), fp32, k at most the rank; the squared norms of the change and of what they lack."""
    factors = change.factors()
    with exact(change.device):
        if factors and len(factors[1]) <= rank:
            up, down = factors
            return up, down, float(((up.T @ up) * (down @ down.T)).sum()), 0.0
        u, sizes, v, size = _decomposed(change, factors, rank)
    enough = int((sizes > sizes[:1] * torch.finfo(sizes.dtype).eps * max(change.shape)).sum())
    kept = max(1, min(rank, enough))
    roots = sizes[:kept].sqrt()
    held = float(sizes[:kept].double().square().sum())
    return u[:, :kept] * roots, roots[:, None] * v[:kept], size, max(0.0, size - held)


def _decomposed(
    change: Change, factors: tuple[Tensor, Tensor] | None, rank: int
) -> tuple[Tensor, Tensor, Tensor, float]:
    """The singular value decomposition of a change, and its squared norm.

    Of its factors, where these are smaller; a search for the largest, where the rank is much smaller than the layer
    (Halko et al. 2011; the exact one takes ten times as long, and minutes for a model).
    """
    if factors and len(factors[1]) < min(factors[0].shape[0], factors[1].shape[1]) / 2:
        first, inner = torch.linalg.qr(factors[0])
        last, outer = torch.linalg.qr(factors[1].T)
        u, sizes, v = torch.linalg.svd(inner @ outer.T, full_matrices=False)
        return first @ u, sizes, v @ last.T, float(sizes.double().square().sum())
    whole = change.difference().flatten(1)
    size = float(whole.double().square().sum())
    if 8 * rank < min(whole.shape):
        with torch.random.fork_rng(devices=[whole.device] if whole.is_cuda else []):
            torch.manual_seed(0)
            u, sizes, v = torch.svd_lowrank(whole, 2 * rank, niter=8)
            return u, sizes, v.T, size
    u, sizes, v = torch.linalg.svd(whole, full_matrices=False)
    return u, sizes, v, size
