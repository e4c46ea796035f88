"""The trained module of LoKr."""

from __future__ import annotations

import torch
from lycoris.functional.general import rebuild_tucker
from lycoris.functional.lokr import make_kron
from lycoris.modules.lokr import LokrModule
from torch import Tensor

from core.networks._modules.change import exact
from core.networks._modules.rebuilt import Rebuilt


class LokrChange(Rebuilt, LokrModule):
    """dW = (alpha / rank) w1 ⊗ w2, a Kronecker product, each factor whole or a product of two (Yeh et al. 2024).

    LyCORIS' weights, first values and way of never building dW; not its `get_diff_weight`, which multiplies by the
    scale twice. The file of a Tucker decomposition has the usual form, because ComfyUI fails at the other (torch.kron
    takes no tensor of such strides). With both factors whole there is no rank, and the scale is 1. Rank dropout is
    LyCORIS': rows of dW.
    """

    use_w1: bool
    use_w2: bool
    tucker: bool

    def change(self, x: Tensor, y: Tensor) -> Tensor:
        if self.wd:
            return super().change(x, y)
        change = LokrModule.bypass_forward_diff(self, x)
        kept = self.kept(self.ranks())
        return change if kept is None else change * self.along_channels(kept, change.dim()).to(change.dtype)

    def update(self, kept: Tensor | None) -> Tensor:
        weight = make_kron(self._first(), self._second(), self.scale)
        return self.rows(weight, kept).reshape(self.shape) * self.scalar

    def _first(self) -> Tensor:
        return self.lokr_w1.float() if self.use_w1 else self.lokr_w1_a.float() @ self.lokr_w1_b.float()

    def _second(self) -> Tensor:
        if self.use_w2:
            return self.lokr_w2.float()
        if self.tucker:
            return rebuild_tucker(self.lokr_t2.float(), self.lokr_w2_a.float(), self.lokr_w2_b.float())
        second = self.lokr_w2_a.float() @ self.lokr_w2_b.float()
        return second.reshape(second.shape[0], -1, *self.shape[2:])

    def _second_halves(self) -> tuple[Tensor, Tensor]:
        """The second factor's own factors, of a flattened kernel."""
        a, b = self.lokr_w2_a.float(), self.lokr_w2_b.float()
        if not self.tucker:
            return a, b
        with exact(self.device):
            return a.T, torch.einsum("i j ..., j n -> i n ...", self.lokr_t2.float(), b).flatten(1)

    def to_file(self) -> dict[str, Tensor]:
        file = super().to_file()
        if file.pop("lokr_t2", None) is not None:
            file["lokr_w2_a"], file["lokr_w2_b"] = self._second_halves()
        return file

    def factors(self) -> tuple[Tensor, Tensor] | None:
        """w1 ⊗ (a b) = (w1 ⊗ a)(1 ⊗ b)."""
        if self.wd or self.use_w2:
            return None
        with exact(self.device):
            first, (a, b) = self._first(), self._second_halves()
            b = b.reshape(len(b), -1, *self.shape[2:])
            one = torch.eye(first.shape[1], device=self.device).reshape(first.shape[1], -1, *[1] * (b.dim() - 2))
            return torch.kron(first, a.contiguous()) * self.scale * self.scalar, torch.kron(
                one, b.contiguous()
            ).flatten(1)
