"""LoCon: LoRA that also changes the convolutions."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from core.networks._low_rank import LowRank
from core.settings import setting


class Locon(LowRank):
    """LoRA that changes the convolutions too: learns more of textures and styles, with a larger file."""

    label: ClassVar[str] = "LoCon"
    algorithm: ClassVar[str] = "locon"
    loads_in: ClassVar[tuple[str, ...]] = ("ComfyUI", "Forge", "A1111", "diffusers")

    name: Literal["locon"] = "locon"
    conv_rank: int = setting(
        8,
        "Convolution rank",
        "Size of the update of convolutions (not of 1x1 ones, which have the rank above).",
        ge=1,
        le=1024,
        also=("conv_dim",),
    )
    conv_alpha: float = setting(
        4.0, "Convolution alpha", "The update of convolutions is multiplied by this / its rank.", gt=0, le=4096
    )

    def layer_groups(self) -> Sequence[str]:
        return [*super().layer_groups(), *(["convolution"] if self.layers != "patterns" else [])]

    def size(self, path: str, layer: Any) -> tuple[int, float]:
        """1x1 convolutions and linear layers have the network's own rank, as with kohya and LyCORIS."""
        if max(getattr(layer, "kernel_size", (1,))) > 1:
            return self.conv_rank, self.conv_alpha
        return super().size(path, layer)

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | {"conv_dim": self.conv_rank, "conv_alpha": self.conv_alpha}
