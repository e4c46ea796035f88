"""The trained module of the full difference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lycoris.modules.full import FullModule
from torch import Tensor

from core.networks._modules.change import Change


class FullChange(Change, FullModule):
    """A whole weight, and bias, beside the layer's.

    LyCORIS' own module takes the layer's weight away and trains the sum of both, in which a small difference of a bf16
    base is lost; and it keeps a copy of each weight.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, name: str, layer: Any, **options: Any) -> None:
        super().__init__(name, layer, **options)
        self._org_weight, self.org_bias = [], None

    def change(self, x: Tensor, y: Tensor) -> Tensor:
        return self.apply_weight(x, self.weight, self.bias)

    def difference(self) -> Tensor:
        return self.weight.float()

    def bias_difference(self) -> Tensor | None:
        return None if self.bias is None else self.bias.float()

    def take(self, file: Mapping[str, Tensor]) -> None:
        names = {"diff": "weight", "diff_b": "bias"}
        super().take({names[suffix]: tensor for suffix, tensor in file.items()})

    def to_file(self) -> dict[str, Tensor]:
        return {"diff": self.weight} | ({} if self.bias is None else {"diff_b": self.bias})
