"""The trained module of a LoRA that begins with the base's principal components."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from core.errors import OchreError
from core.networks._modules.change import exact, working_dtype
from core.networks._modules.first_weights import put
from core.networks._modules.low_rank import LowRankChange


class PissaChange(LowRankChange):
    """dW = (alpha / rank) (B A - B0 A0), where (alpha / rank) B0 A0 are the strongest components of W.

    PiSSA (Meng et al. 2024, arXiv 2404.02948) trains B A beside the residual W - (alpha / rank) B0 A0. To have that, a
    bf16 base would be rounded; here it stays as it is, and the difference is calculated as (B - B0) A + B0 (A - A0), in
    which no two large terms cancel: in bf16 a small change would be lost in them. So a new network changes nothing, and
    gradients are PiSSA's. The file is a plain LoRA of twice the rank, [B - B0, B0] and [A, A - A0], which does the same
    as peft's converted [B, -B0] and [A, A0], and keeps small changes in fp16.
    """

    first_up: Tensor
    first_down: Tensor
    alpha: Tensor

    def __init__(self, name: str, layer: Any, iterations: int = 0, **options: Any) -> None:
        """iterations: of the randomised search for the components (Halko et al. 2011); 0: an exact decomposition."""
        super().__init__(name, layer, **options)
        up, down = self._components(name, iterations)
        put(self.lora_up, up)
        put(self.lora_down, down)
        self.register_buffer("first_up", self.lora_up.weight.detach().clone(), persistent=False)
        self.register_buffer("first_down", self.lora_down.weight.detach().clone(), persistent=False)

    def _components(self, name: str, iterations: int) -> tuple[Tensor, Tensor]:
        """B0 and A0: peft's pissa_init, U sqrt(S / scale) and sqrt(S / scale) V. OchreError if there are too few.

        The randomised search draws on the CPU, so that every device has the same; the exact one runs on the layer's.
        """
        weight = self.base_weight.float().flatten(1)
        if self.lora_dim > min(weight.shape):
            raise OchreError(
                f"{name} has only {min(weight.shape)} principal components, and its update has rank {self.lora_dim}.",
                "PiSSA's first weights are as many of them as the rank is.",
                "Lower the rank, give these layers a rule with a lower one, leave them out, or choose another initial.",
            )
        if iterations:
            u, sizes, v = torch.svd_lowrank(weight.cpu(), self.lora_dim, niter=iterations)
            v = v.T
        else:
            u, sizes, v = (part.cpu() for part in torch.linalg.svd(weight, full_matrices=False))
        roots = (sizes[: self.lora_dim] / self.scale).sqrt()
        return u[:, : self.lora_dim] * roots, roots[:, None] * v[: self.lora_dim]

    def _through(self, x: Tensor) -> Tensor:
        dtype = working_dtype(x)
        x, (up, down) = x.to(dtype), (half.to(dtype) for half in self._halves())
        if not self.is_convolution:
            return F.linear(self._some(F.linear(x, down)), up)
        down = down.reshape(len(down), *self.shape[1:])
        return F.conv2d(self._some(self.op(x, down, **self.kw_dict)), up[..., None, None])

    def _some(self, inner: Tensor) -> Tensor:
        kept = self.kept(inner.shape[0], self.lora_dim)
        if kept is None:
            return inner
        axes = (..., None, None) if self.is_convolution else (slice(None), *[None] * (inner.dim() - 2), slice(None))
        return inner * kept.repeat(1, 2)[axes].to(inner.dtype)

    def _halves(self) -> tuple[Tensor, Tensor]:
        """(out, 2 rank) and (2 rank, in), fp32, unscaled: [B - B0, B0] and [A, A - A0]."""
        up, down = self.lora_up.weight.float().flatten(1), self.lora_down.weight.float().flatten(1)
        first_up, first_down = self.first_up.float().flatten(1), self.first_down.float().flatten(1)
        return torch.cat((up - first_up, first_up), dim=1), torch.cat((down, down - first_down))

    def update(self, kept: Tensor | None) -> Tensor:
        up, down = self._halves()
        if kept is not None:
            up = up * kept.repeat(2)
        return (up @ down).reshape(self.shape) * self.scale

    def factors(self) -> tuple[Tensor, Tensor] | None:
        if self.wd:
            return None
        with exact(self.device):
            up, down = self._halves()
            return up * self.scale, down

    def hold_in(self, dtype: torch.dtype) -> None:
        super().hold_in(dtype)
        self.first_up.copy_(self.lora_up.weight.detach())  # rounded alike, so that a new network changes nothing
        self.first_down.copy_(self.lora_down.weight.detach())

    def trained(self) -> dict[str, Tensor]:
        """With what it began, which the change is measured from."""
        return super().trained() | {"first_up": self.first_up, "first_down": self.first_down}

    def to_file(self) -> dict[str, Tensor]:
        """A plain LoRA's tensors, of twice the rank."""
        up, down = self._halves()
        return super().to_file() | {
            "alpha": self.alpha * 2,
            "lora_up.weight": up.reshape(*up.shape, *[1] * (len(self.shape) - 2)),
            "lora_down.weight": down.reshape(len(down), *self.shape[1:]),
        }
