"""LoCon: LoRA that also changes the convolutions."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from core.networks._low_rank import LowRank
from core.settings import setting


class Locon(LowRank):
    """LoRA that changes the convolutions too: learns more of textures and styles, with a larger file."""

    label: ClassVar[str] = "LoCon"
    algorithm: ClassVar[str] = "locon"

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
