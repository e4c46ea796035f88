"""OFT: turns groups of a layer's outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from core.errors import OchreError
from core.networks._programs import IGNORED, REFUSED, loads
from core.networks._rotating import Rotating

if TYPE_CHECKING:
    from torch import nn

    from core.networks._modules.change import Change


class Oft(Rotating):
    """Turns groups of a layer's outputs: keeps what the model knows better than others do.

    Orthogonal finetuning (Qiu et al. 2023, arXiv 2306.07280), LyCORIS' diag-oft.
    """

    label: ClassVar[str] = "OFT"
    algorithm: ClassVar[str] = "diag-oft"

    name: Literal["oft"] = "oft"

    def make(self, name: str, layer: nn.Module, rank: int, alpha: float) -> Change:
        from core.networks._modules.rotation import OftChange

        change = OftChange(name, layer, lora_dim=self.block_size, **self.options())
        if change.oft_blocks.shape[-1] == 1:
            raise OchreError(
                f"OFT can't turn {name}: its {change.oft_blocks.shape[0]} outputs don't divide into groups of up to "
                f"{self.block_size}.",
                do="Choose a larger block size, or add the layer to those that are left out (exclude).",
            )
        return change

    def loads_in(self) -> dict[str, str]:
        comfy = {"ComfyUI": "Leaves the rescaling out without a word: another effect."} if self.rescaled else {}
        return loads(comfy | {"Forge": IGNORED, "diffusers": REFUSED})
