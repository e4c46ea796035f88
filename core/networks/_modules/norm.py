"""The trained module of a normalisation layer."""

from __future__ import annotations

from lycoris.modules.norms import NormModule
from torch import Tensor

from core.networks._modules.change import Change


class NormChange(Change, NormModule):
    """Another scale and shift of what a layer norm or group norm gives; LyCORIS' weights."""

    w_norm: Tensor
    b_norm: Tensor

    def change(self, x: Tensor, y: Tensor) -> Tensor:
        weight, bias = self.w_norm.to(y.dtype), self.b_norm.to(y.dtype)
        return self.op(x.to(y.dtype), weight=weight, bias=bias, **self.kw_dict)

    def difference(self) -> Tensor:
        return self.w_norm.float()

    def bias_difference(self) -> Tensor | None:
        return self.b_norm.float()

    def to_file(self) -> dict[str, Tensor]:
        return {"w_norm": self.w_norm, "b_norm": self.b_norm}
