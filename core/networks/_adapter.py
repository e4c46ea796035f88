"""What all algorithms that change layers share: their settings, and the one place where they are attached.

An algorithm is a plug-in of its own file: a subclass of `Adapter` (or of `Ranked`, if its update has a rank) with its
own settings, `make`, which builds the trained module of one layer, and `loads_in`. The rest is decided here, in
`attach`: which layers (`targets`), their ranks and alphas (`size`), and the dtype of what is trained.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.contracts import Model, Network, Part, PartLayers
from core.settings import setting
from core.settings.bases import NetworkConfig

if TYPE_CHECKING:
    from torch import nn

    from core.networks._attached import Target
    from core.networks._module import Change


class Adapter(NetworkConfig):
    """Changes layers of a model, beside the layers, whose own weights stay as they are."""

    algorithm: ClassVar[str]
    """What LyCORIS calls it, for the file's metadata."""

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
    module_dropout: float = setting(
        0.0, "Module dropout", "Share of the layers whose update is left out at random.", ge=0, lt=1, level="advanced"
    )
    weight_dtype: Literal["fp32", "bf16"] = setting(
        "fp32",
        "Precision of the trained weights",
        "bf16 halves their memory; without stochastic rounding it loses small steps.",
        level="advanced",
        also=("lora_weight_dtype",),
    )

    def make(self, name: str, layer: nn.Module, rank: int, alpha: float) -> Change:
        """The trained module of one layer, whose update is scaled by alpha / rank where it has a rank.

        name: the layer's path with underscores.
        """
        raise NotImplementedError

    def layer_groups(self) -> list[str]:
        """The layer groups that are changed. A text encoder may lack some."""
        return [self.layers]

    def size(self, path: str, layer: nn.Module) -> tuple[int, float]:
        """Rank of a layer's update, and the alpha with which alpha / rank is its scale; (1, 1.0) where it has none."""
        return 1, 1.0

    def targets(self, part: Part, module: nn.Module, found: PartLayers) -> list[Target]:
        """The layers of a part that are changed, in the model's order."""
        from core.networks._attached import Target, find_layers

        patterns = [found.groups[name] for name in self.layer_groups() if name in found.groups]
        layers = find_layers(module, patterns)
        assert layers, f"no layer of {part} matches {patterns}"
        return [Target(path, layer, *self.size(path, layer)) for path, layer in layers]

    def attach(self, model: Model, parts: Mapping[Part, PartLayers]) -> Network:
        from core.networks._attached import Attached

        return Attached(
            self, model, {part: self.targets(part, model.parts[part], found) for part, found in parts.items()}
        )

    def metadata(self) -> dict[str, str]:
        """kohya's `ss_network_*` entries."""
        return {
            "ss_network_module": "lycoris.kohya",
            "ss_network_dim": "None",
            "ss_network_alpha": "None",
            "ss_network_dropout": str(self.dropout),
            "ss_network_args": json.dumps({name: str(value) for name, value in self.arguments().items()}),
        }

    def arguments(self) -> dict[str, Any]:
        """What kohya's `network_args` would hold."""
        return {"algo": self.algorithm} | _given({"module_dropout": self.module_dropout})


class Ranked(Adapter):
    """An update with a rank, scaled by alpha / rank."""

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
    rank_stabilised: bool = setting(
        False,
        "Rank-stabilised scale",
        "Multiplies the update by alpha / √rank instead, so that a larger rank needs no other learning rate.",
        level="advanced",
        also=("rs_lora", "rslora", "use_rslora"),
    )
    rank_dropout: float = setting(
        0.0, "Rank dropout", "Share of the ranks left out at random.", ge=0, lt=1, level="advanced"
    )

    def size(self, path: str, layer: nn.Module) -> tuple[int, float]:
        return self.rank, self.scaled(self.rank, self.alpha)

    def scaled(self, rank: int, alpha: float) -> float:
        """The alpha with which alpha / rank, which every program calculates, is this run's scale.

        Rank-stabilised (Kalajdzievski 2023): alpha √rank / rank = alpha / √rank.
        """
        return alpha * math.sqrt(rank) if self.rank_stabilised else alpha

    def metadata(self) -> dict[str, str]:
        sizes = {"ss_network_dim": str(self.rank), "ss_network_alpha": str(self.scaled(self.rank, self.alpha))}
        return super().metadata() | sizes

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | _given({"rank_dropout": self.rank_dropout, "rs_lora": self.rank_stabilised})


def _given(arguments: dict[str, Any]) -> dict[str, Any]:
    """Only those that were set."""
    return {name: value for name, value in arguments.items() if value}
