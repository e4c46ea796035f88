"""OFT: turns groups of a layer's outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from core.errors import OchreError
from core.networks._programs import IGNORED, REFUSED, loads
from core.networks._rotating import Rotating

if TYPE_CHECKING:
    from torch import nn

    from core.networks._modules.change import Change


USUAL = 17
"""The largest block size with which every layer of 320 outputs, the least of SD and SDXL, has no fewer groups."""


class Oft(Rotating):
    """Turns groups of a layer's outputs: keeps what the model knows better than others do.

    Orthogonal finetuning (Qiu et al. 2023, arXiv 2306.07280), LyCORIS' diag-oft.
    """

    label: ClassVar[str] = "OFT"
    algorithm: ClassVar[str] = "diag-oft"

    name: Literal["oft"] = "oft"

    def make(self, name: str, layer: nn.Module, rank: int, alpha: float) -> Change:
        from core.networks._modules.rotation import OftChange

        outputs = int(layer.weight.shape[0])  # type: ignore[index,union-attr]
        size = max(size for size in range(1, min(self.block_size, outputs) + 1) if outputs % size == 0)
        if size == 1:
            raise OchreError(
                f"OFT can't turn {name}: its {outputs} outputs don't divide into groups of up to {self.block_size}.",
                do="Choose a larger block size, or add the layer to those that are left out (exclude).",
            )
        return OftChange(name, layer, size, **self.options())

    def loads_in(self) -> dict[str, str]:
        told = {"Forge": IGNORED, "diffusers": REFUSED}
        if self.rescaled:
            told["ComfyUI"] = "Leaves the rescaling out without a word: another effect."
        if self.block_size > USUAL:
            told["LyCORIS"] = "Fails at layers that have fewer groups than a group has outputs."
        return loads(told)
