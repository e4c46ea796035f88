"""LoHa: the element-wise product of two low-rank updates."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from core.networks._factored import Decomposable
from core.networks._norms import NormLimit
from core.networks._programs import REFUSED, loads
from core.networks._weights import StartFrom

if TYPE_CHECKING:
    from torch import nn

    from core.networks._modules.change import Change


class Loha(NormLimit, StartFrom, Decomposable):
    """Reaches the square of its rank with twice a LoRA's weights; much generalisation, slower.

    FedPara (Hyeon-Woo et al. 2022, arXiv 2108.06098), as in LyCORIS. Ranks of 4 to 16 are usual.
    """

    label: ClassVar[str] = "LoHa"
    algorithm: ClassVar[str] = "loha"

    name: Literal["loha"] = "loha"

    def make(self, name: str, layer: nn.Module, rank: int, alpha: float) -> Change:
        from core.networks._modules.loha import LohaChange

        return LohaChange(name, layer, lora_dim=rank, alpha=alpha, **self.options())

    def loads_in(self) -> dict[str, str]:
        return loads(self.without_dora({"diffusers": REFUSED}))
