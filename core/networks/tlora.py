"""T-LoRA: a LoRA of fewer ranks the noisier a picture is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.networks._adapter import Ranked
from core.networks._layers import is_linear
from core.networks._programs import REFUSED, loads
from core.settings import setting

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.networks._modules.change import Change


class Tlora(Ranked):
    """Trains fewer ranks the noisier a picture is: learns a subject from one picture, without its pose and place.

    Soboleva et al. 2025, arXiv 2507.05964, on LyCORIS' module. Each sample has the ranks of its own noise level; text
    encoders have all. The file is a plain LoRA of twice the rank, which programs use whole at every noise level, and
    so do the samples of the run. It changes linear layers and 1x1 convolutions: of larger kernels LyCORIS' module
    trains the middle alone, and fails.
    """

    label: ClassVar[str] = "T-LoRA"
    algorithm: ClassVar[str] = "tlora"

    name: Literal["tlora"] = "tlora"
    least_rank: int = setting(1, "Least rank", "So many ranks count at pure noise.", ge=0, le=1024, also=("min_rank",))
    rank_power: float = setting(
        1.0,
        "Power",
        "How the ranks grow: (1 - noise level) to this power. Above 1 they stay few for longer.",
        gt=0,
        le=8,
        level="advanced",
        also=("tlora_alpha",),
    )
    directions: Literal["principal", "middle", "last"] = setting(
        "principal",
        "First directions",
        "Which singular vectors it begins with, by their size.",
        level="advanced",
        also=("sig_type",),
    )
    from_weights: bool = setting(
        True,
        "Of the layer's weight",
        "The singular vectors are those of the layer's own weight; off: of a random matrix.",
        level="advanced",
        also=("use_data_init",),
    )

    def check(self) -> Iterator[Problem]:
        yield from super().check()
        if self.least_rank > self.rank:
            yield Problem("least_rank", f"must be at most the rank, {self.rank} (it is {self.least_rank})")
        if self.layers in ("transformer_conv", "all"):
            yield Problem("layers", f"{self.layers} has convolutions, which T-LoRA can't change", {"layers": "linear"})

    def suits(self, layer: Any) -> bool:
        return super().suits(layer) and is_linear(layer)

    def make(self, name: str, layer: nn.Module, rank: int, alpha: float) -> Change:
        from core.networks._modules.tlora import TloraChange

        chosen = {"sig_type": self.directions, "use_data_init": self.from_weights}
        return TloraChange(name, layer, lora_dim=rank, alpha=alpha, **chosen, **self.options())

    def at_levels(self, levels: Tensor) -> Any:
        from core.networks._modules.tlora import RankMasks

        return RankMasks(levels, self.least_rank, self.rank_power)

    def is_plain(self) -> bool:
        return not self.train_norms

    def loads_in(self) -> dict[str, str]:
        return loads({"diffusers": REFUSED} if self.train_norms else {})

    def metadata(self) -> dict[str, str]:
        """Of the file: a plain LoRA of twice the rank."""
        sizes = {"ss_network_dim": str(2 * self.rank), "ss_network_alpha": str(2 * self.scaled(self.rank, self.alpha))}
        return super().metadata() | sizes

    def arguments(self) -> dict[str, Any]:
        named = {"min_rank": self.least_rank, "sig_type": self.directions, "use_data_init": self.from_weights}
        return super().arguments() | named
