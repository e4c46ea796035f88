"""What LoRA and LoCon share: a low-rank update, which is every program's LoRA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.networks._adapter import Ranked
from core.networks._groups import LoraPlus
from core.networks._norms import NormLimit

if TYPE_CHECKING:
    from torch import nn

    from core.networks._modules.change import Change


class LowRank(LoraPlus, NormLimit, Ranked):
    """A low-rank update of layers: W x + alpha / rank * up(down(x)) (Hu et al. 2021, section 4.1)."""

    def make(self, name: str, layer: nn.Module, rank: int, alpha: float) -> Change:
        from core.networks._modules.low_rank import LowRankChange

        return LowRankChange(
            name,
            layer,
            lora_dim=rank,
            alpha=alpha,
            dropout=self.dropout,
            rank_dropout=self.rank_dropout,
            module_dropout=self.module_dropout,
        )

    def metadata(self) -> dict[str, str]:
        """kohya's own module, which every program takes these files for."""
        return super().metadata() | {"ss_network_module": "networks.lora"}

    def arguments(self) -> dict[str, Any]:
        return {name: value for name, value in super().arguments().items() if name != "algo"}
