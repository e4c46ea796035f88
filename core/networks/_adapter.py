"""What all algorithms that change layers share: their settings, and the one place where they are attached.

An algorithm is a plug-in of its own file: a subclass of `Adapter` (or of `Ranked`, if its update has a rank) with its
own settings, `make`, which builds the trained module of one layer, and `loads_in`. The rest is decided here, in
`attach`: which layers (`targets`), their ranks and alphas (`size`, and the rules), and the dtype of what is trained.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.contracts import Model, Network, Part, PartLayers
from core.errors import Problem
from core.networks._layers import LayerChoice, choose_layers
from core.networks._rules import Rule, apply_rules
from core.settings import setting
from core.settings.bases import NetworkConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.networks._attached import Target
    from core.networks._modules.change import Change


class Adapter(LayerChoice, NetworkConfig):
    """Changes layers of a model, beside the layers, whose own weights stay as they are."""

    algorithm: ClassVar[str]
    """What LyCORIS calls it, for the file's metadata."""
    has_rank: ClassVar[bool] = False

    rules: list[Rule] = setting(
        [], "Rules", "Another rank, alpha or learning rate for some blocks or layers.", level="advanced"
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

    def check(self) -> Iterator[Problem]:
        yield from super().check()
        for index, rule in enumerate(self.rules):
            for name in ("rank", "alpha"):
                if getattr(rule, name) and not self.has_rank:
                    yield Problem(f"rules.{index}.{name}", f"{self.name} has none; set it to 0")

    def suits(self, layer: Any) -> bool:
        """Whether a module is one that this algorithm can change."""
        from torch import nn

        return isinstance(layer, nn.Linear | nn.Conv2d)

    def size(self, path: str, layer: nn.Module) -> tuple[int, float]:
        """Rank and alpha of a layer's update, where no rule says otherwise; (1, 1.0) where it has none."""
        return 1, 1.0

    def scaled(self, rank: int, alpha: float) -> float:
        """The alpha with which alpha / rank, which every program calculates, is this run's scale."""
        return alpha

    def at_levels(self, levels: Tensor) -> Any:
        """What the denoiser's modules are told before each prediction (`Change.at`). levels: see `before_step`."""
        return None

    def up_ratio(self, part: Part) -> float:
        """How many times faster LoRA+ lets the up matrices of a part learn."""
        return 1.0

    def norm_limit(self) -> float:
        """The largest norm that a layer's update may have; 0: any."""
        return 0.0

    def targets(self, model: Model, parts: Mapping[Part, PartLayers]) -> dict[Part, list[Target]]:
        """The layers of each part that are changed, in the model's order."""
        from core.networks._attached import Target

        layers = choose_layers(self, {part: model.parts[part] for part in parts}, parts, self.suits)
        said = apply_rules(self.rules, layers, parts)
        found: dict[Part, list[Target]] = {part: [] for part in parts}
        for part, inside in layers.items():
            for path, layer in inside:
                if one := said[part].get(path):
                    rank, alpha = self.size(path, layer)
                    rank, alpha = one.rank or rank, one.alpha or alpha
                    found[part].append(Target(path, layer, rank, self.scaled(rank, alpha), one))
        return found

    def attach(self, model: Model, parts: Mapping[Part, PartLayers]) -> Network:
        from core.networks._attached import Attached

        return Attached(self, model, self.targets(model, parts))

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

    has_rank: ClassVar[bool] = True

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
        return self.rank, self.alpha

    def scaled(self, rank: int, alpha: float) -> float:
        """Rank-stabilised (Kalajdzievski 2023): alpha √rank / rank = alpha / √rank."""
        return alpha * math.sqrt(rank) if self.rank_stabilised else alpha

    def metadata(self) -> dict[str, str]:
        sizes = {"ss_network_dim": str(self.rank), "ss_network_alpha": str(self.scaled(self.rank, self.alpha))}
        return super().metadata() | sizes

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | _given({"rank_dropout": self.rank_dropout, "rs_lora": self.rank_stabilised})


def _given(arguments: dict[str, Any]) -> dict[str, Any]:
    """Only those that were set."""
    return {name: value for name, value in arguments.items() if value}
