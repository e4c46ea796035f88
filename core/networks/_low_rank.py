"""What LoRA and LoCon share: their settings, and LyCORIS' low-rank module built from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from core.contracts import Model, Network, Part, PartLayers
from core.settings import setting
from core.settings.bases import NetworkConfig

if TYPE_CHECKING:
    from torch import nn

    from core.networks._lycoris import Make


class LowRank(NetworkConfig):
    """A low-rank update of layers: W x + alpha / rank * up(down(x)) (Hu et al. 2021, section 4.1)."""

    rank: int = setting(
        16,
        "Rank",
        "Size of the update. Larger learns more and makes a larger file.",
        ge=1,
        le=1024,
        also=("network_dim", "lora_rank"),
    )
    alpha: float = setting(
        8.0,
        "Alpha",
        "Strength: the update is multiplied by alpha / rank. Half of the rank is usual.",
        gt=0,
        le=4096,
        also=("network_alpha", "lora_alpha"),
    )
    layers: Literal["attention", "transformer"] = setting(
        "transformer",
        "Layers",
        "attention: where prompt and picture meet. transformer: also the layers between them, as kohya does.",
        level="advanced",
    )
    dropout: float = setting(
        0.0,
        "Dropout",
        "Share of the update's output left out at random.",
        ge=0,
        lt=1,
        level="advanced",
        also=("network_dropout",),
    )
    rank_dropout: float = setting(
        0.0, "Rank dropout", "Share of the ranks left out at random.", ge=0, lt=1, level="advanced"
    )
    module_dropout: float = setting(
        0.0, "Module dropout", "Share of the layers whose update is left out at random.", ge=0, lt=1, level="advanced"
    )

    def groups(self) -> list[str]:
        """The layer groups that are changed."""
        return [self.layers]

    def size(self, layer: nn.Module) -> tuple[int, float]:
        """Rank and alpha of a layer's update."""
        return self.rank, self.alpha

    def attach(self, model: Model, parts: Mapping[Part, PartLayers]) -> Network:
        from core.networks._lycoris import AttachedModules, find_layers

        makers: dict[Part, dict[str, Make]] = {}
        for part, found in parts.items():
            wanted = [
                found.groups[name] for name in self.groups() if name in found.groups
            ]  # text encoders have no convolutions
            layers = find_layers(model.parts[part], wanted)
            assert layers, f"no layer of {part} matches {wanted}"
            makers[part] = {path: self._maker(*self.size(layer)) for path, layer in layers}
        return AttachedModules(model, makers, self.metadata())

    def _maker(self, rank: int, alpha: float) -> Make:
        from core.networks._lycoris import LowRankModule

        return lambda name, layer: LowRankModule(
            name,
            layer,
            lora_dim=rank,
            alpha=alpha,  # type: ignore[arg-type]
            dropout=self.dropout,
            rank_dropout=self.rank_dropout,
            module_dropout=self.module_dropout,
            bypass_mode=True,
        )

    def metadata(self) -> dict[str, str]:
        """kohya's `ss_network_*` entries."""
        arguments = {name: str(value) for name, value in self.arguments().items() if value}
        return {
            "ss_network_module": "networks.lora",
            "ss_network_dim": str(self.rank),
            "ss_network_alpha": str(self.alpha),
            "ss_network_dropout": str(self.dropout),
            "ss_network_args": json.dumps(arguments),
        }

    def arguments(self) -> dict[str, Any]:
        """What kohya's `network_args` would hold."""
        return {"rank_dropout": self.rank_dropout, "module_dropout": self.module_dropout}
