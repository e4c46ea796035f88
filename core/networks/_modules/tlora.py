"""The trained module of T-LoRA."""

from __future__ import annotations

from typing import Any

import torch
from lycoris.modules.tlora import TLoraModule
from torch import Tensor
from torch.nn import functional as F

from core.networks._modules.change import Change, exact, working_dtype


class RankMasks:
    """Which ranks count at the noise levels of a batch: fewer the noisier it is.

    Of `rank`, the first int((1 - level)^power (rank - least)) + least (Soboleva et al. 2025, arXiv 2507.05964).
    """

    def __init__(self, levels: Tensor, least: int, power: float) -> None:
        """levels: B, 0 is clean, 1 is noise alone. least: ranks that count at any level."""
        self._levels, self._least, self._power = levels, least, power
        self._masks: dict[int, Tensor] = {}

    def of(self, rank: int) -> Tensor:
        """B rank, of ones and zeros."""
        if rank not in self._masks:
            least = min(self._least, rank)
            counts = ((1 - self._levels.float()).clamp(0, 1) ** self._power * (rank - least)).floor() + least
            self._masks[rank] = (torch.arange(rank, device=counts.device) < counts[:, None]).float()
        return self._masks[rank]


class TloraChange(Change, TLoraModule):
    """dW = (alpha / rank) (P Λ Q - P0 Λ0 Q0), orthogonal at first; in training of fewer ranks the noisier a sample is.

    LyCORIS' weights and first values. The difference is calculated as dP Λ Q + P0 (dΛ Q + Λ0 dQ), in which no two
    large terms cancel: in bf16 the change would be lost in them. For linear layers and 1x1 convolutions, of which
    LyCORIS' module is right. Out of training all ranks count, as in the programs that load the file, a plain LoRA of
    twice the rank (LyCORIS' own file lacks P0, Λ0 and Q0).
    """

    q_layer: Any
    p_layer: Any
    lambda_layer: Tensor
    base_q: Tensor
    base_p: Tensor
    base_lambda: Tensor
    alpha: Tensor
    scale: float
    lora_dim: int

    def _initialize_from_svd(self, org_module: Any, in_dim: int, out_dim: int, flat_in_dim: int) -> None:
        """LyCORIS' choice of singular vectors, on the layer's device, without its collection of garbage each time."""
        weight = org_module.weight.detach().float().flatten(1)
        if not self.use_data_init:
            weight = torch.randn(weight.shape).to(weight) / self.lora_dim
        u, sizes, v = torch.linalg.svd(weight, full_matrices=False)
        rank, most = self.lora_dim, len(sizes)
        begin = {"principal": 0, "last": max(most - rank, 0), "middle": max(most - rank, 0) // 2}[self.sig_type]
        chosen = slice(begin, begin + rank)
        lacking = max(rank - most, 0)
        self.q_layer.weight.data = F.pad(v[chosen], (0, 0, 0, lacking)).reshape(self.q_layer.weight.shape).contiguous()
        self.p_layer.weight.data = F.pad(u[:, chosen], (0, lacking)).reshape(self.p_layer.weight.shape).contiguous()
        self.lambda_layer.data = F.pad(sizes[chosen], (0, lacking), value=1e-6)[None].contiguous()

    def change(self, x: Tensor, y: Tensor) -> Tensor:
        dtype = working_dtype(x)
        x, (up, down) = x.to(dtype), self._halves()
        inner = F.conv2d(x, down[..., None, None].to(dtype)) if self.is_convolution else F.linear(x, down.to(dtype))
        if self.training and self.at is not None:
            mask = self.at.of(self.lora_dim).repeat(1, 2)
            axes = (..., None, None) if self.is_convolution else (slice(None), *[None] * (inner.dim() - 2), slice(None))
            inner = inner * mask[axes].to(dtype)
        up = up.to(dtype)
        return (F.conv2d(inner, up[..., None, None]) if self.is_convolution else F.linear(inner, up)) * self.scale

    def _halves(self) -> tuple[Tensor, Tensor]:
        """(out, 2 rank) and (2 rank, in), fp32: [dP Λ, P0] and [Q, dΛ Q + Λ0 dQ]."""
        with exact(self.device):
            p, p0 = self.p_layer.weight.float().flatten(1), self.base_p.float().flatten(1)
            q, q0 = self.q_layer.weight.float().flatten(1), self.base_q.float().flatten(1)
            sizes, sizes0 = self.lambda_layer.float(), self.base_lambda.float()
            return (
                torch.cat(((p - p0) * sizes, p0), dim=1),
                torch.cat((q, (sizes - sizes0).T * q + sizes0.T * (q - q0))),
            )

    def difference(self) -> Tensor:
        up, down = self.factors()
        with exact(self.device):
            return (up @ down).reshape(self.shape)

    def factors(self) -> tuple[Tensor, Tensor]:
        up, down = self._halves()
        return up * self.scale, down

    def hold_in(self, dtype: torch.dtype) -> None:
        super().hold_in(dtype)
        self.base_q.copy_(self.q_layer.weight.detach())  # rounded alike, so that a new network changes nothing
        self.base_p.copy_(self.p_layer.weight.detach())
        self.base_lambda.copy_(self.lambda_layer.detach())

    def trained(self) -> dict[str, Tensor]:
        """With what it began, which the change is measured from."""
        return super().trained() | {"base_q": self.base_q, "base_p": self.base_p, "base_lambda": self.base_lambda}

    def to_file(self) -> dict[str, Tensor]:
        """A plain LoRA's tensors."""
        up, down = self._halves()
        ends = [1] * (len(self.shape) - 2)
        return {
            "alpha": self.alpha * 2,
            "lora_up.weight": up.reshape(*up.shape, *ends),
            "lora_down.weight": down.reshape(*down.shape, *ends),
        }
