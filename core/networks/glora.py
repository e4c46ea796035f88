"""GLoRA: a low-rank update that also turns the layer's own weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from core.networks._factored import Factored
from core.networks._norms import NormLimit
from core.networks._programs import REFUSED, loads
from core.networks._weights import StartFrom

if TYPE_CHECKING:
    from torch import nn

    from core.networks._modules.change import Change


class Glora(NormLimit, StartFrom, Factored):
    """A LoRA, and a low-rank change of what each layer is given: two LoRAs' weights.

    W' = W + W A + B (Chavan et al. 2023, arXiv 2306.07967), as in LyCORIS.
    """

    label: ClassVar[str] = "GLoRA"
    algorithm: ClassVar[str] = "glora"

    name: Literal["glora"] = "glora"

    def make(self, name: str, layer: nn.Module, rank: int, alpha: float) -> Change:
        from core.networks._modules.glora import GloraChange

        return GloraChange(name, layer, lora_dim=rank, alpha=alpha, **self.options())

    def loads_in(self) -> dict[str, str]:
        return loads({"A1111": "Reads only an older form of these files, and fails.", "diffusers": REFUSED})
