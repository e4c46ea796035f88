"""The trained module of GLoRA."""

from __future__ import annotations

from typing import Any

import torch
from lycoris.modules.glora import GLoRAModule
from torch import Tensor
from torch.nn import functional as F

from core.networks._modules.change import Change, exact, working_dtype


class GloraChange(Change, GLoRAModule):
    """dW = (alpha / rank) (W a1 a2 + b1 b2): the first half turns the layer's own weight (Chavan et al. 2023).

    LyCORIS' weights and first values. W a1, of (out, rank), is built once instead of W being applied to every token
    again. Rank dropout drops ranks of each half, for each sample; LyCORIS' keeps the share that it should drop.
    """

    a1: Any
    a2: Any
    b1: Any
    b2: Any
    scale: float
    scalar: Tensor
    lora_dim: int

    def change(self, x: Tensor, y: Tensor) -> Tensor:
        dtype = working_dtype(x)
        x, a1, a2, b1, b2 = x.to(dtype), *(half.weight.to(dtype) for half in (self.a1, self.a2, self.b1, self.b2))
        turned = torch.einsum("o i ..., i r -> o r ...", self.base_weight.to(dtype), a1.flatten(1))
        if self.is_convolution:
            first = self.op(self._some(F.conv2d(x, a2)), turned, **self.kw_dict)
            second = F.conv2d(self._some(self.op(x, b2, **self.kw_dict)), b1)
        else:
            first, second = F.linear(self._some(F.linear(x, a2)), turned), F.linear(self._some(F.linear(x, b2)), b1)
        change = (first + second) * self.scale
        return change * self.scalar.to(change.dtype) if self.scalar.requires_grad else change

    def _some(self, inner: Tensor) -> Tensor:
        """Some of the ranks, others for each sample."""
        kept = self.kept(inner.shape[0], self.lora_dim)
        if kept is None:
            return inner
        axes = (..., None, None) if self.is_convolution else (slice(None), *[None] * (inner.dim() - 2), slice(None))
        return inner * kept[axes].to(inner.dtype)

    def difference(self) -> Tensor:
        with exact(self.device):
            a1, a2, b1, b2 = (half.weight.float().flatten(1) for half in (self.a1, self.a2, self.b1, self.b2))
            turned = torch.einsum("o i ..., i r -> o r ...", self.base_weight.float(), a1)
            first = torch.einsum("o r ..., r i -> o i ...", turned, a2)
            return (first + (b1 @ b2).reshape(self.shape)) * self.scale * self.scalar

    def factors(self) -> tuple[Tensor, Tensor] | None:
        """Of twice the rank. None for larger kernels, of which the first half has more."""
        if max(self.shape[2:], default=1) > 1:
            return None
        with exact(self.device):
            a1, a2, b1, b2 = (half.weight.float().flatten(1) for half in (self.a1, self.a2, self.b1, self.b2))
            turned = self.base_weight.float().flatten(1) @ a1
            return torch.cat((turned, b1), dim=1) * self.scale * self.scalar, torch.cat((a2, b2))
