"""Full difference: whole weights and biases beside the layers' own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from core.networks._adapter import LayerAdapter
from core.networks._norms import NormLimit
from core.networks._programs import REFUSED, loads
from core.networks._weights import StartFrom

if TYPE_CHECKING:
    from torch import nn

    from core.networks._modules.change import Change


class Full(NormLimit, StartFrom, LayerAdapter):
    """Trains whole weights and biases, as a finetune does, and saves their difference: very large files."""

    label: ClassVar[str] = "Full difference"
    algorithm: ClassVar[str] = "full"

    name: Literal["full"] = "full"

    def make(self, name: str, layer: nn.Module, rank: int, alpha: float) -> Change:
        from core.networks._modules.full import FullChange

        return FullChange(name, layer, **self.options())

    def loads_in(self) -> dict[str, str]:
        return loads({"diffusers": REFUSED})
