"""Changes whose weight is rebuilt from what is trained, and their decomposition into size and direction (DoRA)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from core.networks._modules.change import Change, exact, working_dtype


class Rebuilt(Change):
    """A change whose weight is rebuilt at each call, in fp32, and taken beside the layer's own.

    With DoRA (Liu et al. 2024, arXiv 2402.09353, equation 5), W' = m (W + dW) / |W + dW|, the change is
    (m / |W + dW| - 1) W + m / |W + dW| dW. The norm is of each input's column (the paper's, and what ComfyUI, Forge
    and A1111 calculate) or of each output's row (LyCORIS' default, and peft's). Its gradient is kept, as in LyCORIS.
    """

    wd: bool
    wd_on_out: bool
    scale: float
    scalar: Tensor
    lora_dim: int

    def __init__(self, name: str, layer: Any, **options: Any) -> None:
        super().__init__(name, layer, **options)
        if not hasattr(self, "wd"):
            self.wd = False
        if self.wd:  # the very norm by which `decomposed` divides, so that a new network changes nothing
            self.dora_scale = nn.Parameter(self._norm(self.base_weight.float()))

    def hold_in(self, dtype: torch.dtype) -> None:
        """DoRA's sizes stay fp32: rounded, they would change every row at once."""
        sizes = self.dora_scale.data if self.wd else None
        super().hold_in(dtype)
        if sizes is not None:
            self.dora_scale.data = sizes

    def update(self, kept: Tensor | None) -> Tensor:
        """dW, of the layer's shape, fp32. kept: what rank dropout leaves in."""
        raise NotImplementedError

    def ranks(self) -> int:
        """How many there are for rank dropout to choose from: by default the weight's rows, as with LyCORIS."""
        return self.shape[0]

    def rows(self, update: Tensor, kept: Tensor | None) -> Tensor:
        """The update's rows that rank dropout leaves in."""
        return update if kept is None else update * kept.reshape(-1, *[1] * (update.dim() - 1))

    def change(self, x: Tensor, y: Tensor) -> Tensor:
        kept = self.kept(self.ranks())
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return _ApplyRebuilt.apply(self, lambda: self.rebuilt(kept), x, *trained)  # type: ignore[no-any-return]

    def difference(self) -> Tensor:
        return self.rebuilt(None)

    def plain_difference(self) -> Tensor:
        with exact(self.device):
            return self.update(None).reshape(self.shape)

    def rebuilt(self, kept: Tensor | None) -> Tensor:
        """The change of the weight, fp32."""
        with exact(self.device):
            update = self.update(kept).reshape(self.shape)
            return self.decomposed(update) if self.wd else update

    def decomposed(self, update: Tensor) -> Tensor:
        """(m / |W + dW| - 1) W + m / |W + dW| dW."""
        weight = self.base_weight.float()
        norm = self._norm(weight + update)
        ratio = self.dora_scale.float() / norm.clamp_min(torch.finfo(norm.dtype).tiny)
        return (ratio - 1) * weight + ratio * update

    def _norm(self, weight: Tensor) -> Tensor:
        others = list(range(1, weight.dim())) if self.wd_on_out else [0, *range(2, weight.dim())]
        return torch.linalg.vector_norm(weight, dim=others, keepdim=True)


class _ApplyRebuilt(torch.autograd.Function):
    """A layer's operation with a rebuilt weight, which is built again for the gradient instead of being kept.

    Kept, it would take as much memory as the layer's own weight, for all layers at a time.
    """

    @staticmethod
    def forward(ctx: Any, module: Change, rebuild: Callable[[], Tensor], x: Tensor, *trained: Tensor) -> Tensor:
        ctx.module, ctx.rebuild, ctx.dtype = module, rebuild, working_dtype(x)
        ctx.save_for_backward(x, *trained)
        return module.apply_weight(x, rebuild())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, *trained = ctx.saved_tensors
        grad = grads[0].to(ctx.dtype)
        with torch.enable_grad():
            weight = ctx.rebuild()
        for_x, for_weight = _gradients(
            ctx.module, x.to(ctx.dtype), weight.detach().to(ctx.dtype), grad, ctx.needs_input_grad[2]
        )
        for_trained = torch.autograd.grad(weight, trained, for_weight.to(weight.dtype))
        return None, None, None if for_x is None else for_x.to(x.dtype), *for_trained


def _gradients(module: Change, x: Tensor, weight: Tensor, grad: Tensor, wants_x: bool) -> tuple[Tensor | None, Tensor]:
    """The gradients of input and weight of a layer's operation."""
    if not module.is_convolution:
        for_weight = grad.flatten(0, -2).T @ x.flatten(0, -2)
        return grad @ weight if wants_x else None, for_weight
    kw = module.kw_dict
    for_x, for_weight, _ = torch.ops.aten.convolution_backward(
        grad, x, weight, None, kw["stride"], kw["padding"], kw["dilation"], False, [0, 0], kw["groups"],
        [wants_x, True, False],
    )  # fmt: skip
    return for_x, for_weight
