"""BOFT: turns a layer's outputs in several stages, between which they change places."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from core.errors import OchreError
from core.networks._programs import IGNORED, REFUSED, loads
from core.networks._rotating import Rotating
from core.settings import setting

if TYPE_CHECKING:
    from torch import nn

    from core.networks._modules.change import Change


class Boft(Rotating):
    """OFT in several stages, so that every output is turned with every other; slow.

    Butterfly OFT (Liu et al. 2024, arXiv 2311.06243), as in LyCORIS.
    """

    label: ClassVar[str] = "BOFT"
    algorithm: ClassVar[str] = "boft"

    name: Literal["boft"] = "boft"
    block_size: int = setting(
        16,
        "Block size",
        "So many outputs of a layer are turned among themselves at each stage: the largest even number up to this that "
        "leaves a power of two of groups; where there is none, the smallest. Larger learns more.",
        ge=2,
        le=256,
        also=("network_dim",),
    )

    def make(self, name: str, layer: nn.Module, rank: int, alpha: float) -> Change:
        from core.networks._modules.rotation import BoftChange

        return BoftChange(name, layer, lora_dim=self._size(name, layer), **self.options())

    def _size(self, name: str, layer: nn.Module) -> int:
        """The block size of a layer. OchreError if it has none."""
        from core.networks._modules.rotation import butterfly_sizes

        outputs = int(layer.weight.shape[0])  # type: ignore[index,union-attr]
        sizes = butterfly_sizes(outputs)
        if not sizes:
            raise OchreError(
                f"BOFT can't turn {name}: it has an odd number of outputs, {outputs}.",
                do="Add the layer to those that are left out (exclude), or choose OFT.",
            )
        return max((size for size in sizes if size <= self.block_size), default=sizes[0])

    def loads_in(self) -> dict[str, str]:
        return loads({"Forge": IGNORED, "diffusers": REFUSED})
