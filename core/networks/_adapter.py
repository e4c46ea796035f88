"""What all algorithms that change layers share: their settings, and the one place where they are attached.

An algorithm is a plug-in of its own file: a subclass of `LayerAdapter` (or of `Ranked`, if its update has a rank) with
its own settings, `make`, which builds the trained module of one layer, and `loads_in`. The rest is decided here, in
`attach`: which layers (`targets`), their ranks and alphas (`size`, and the rules), and the dtype of what is trained.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.contracts import Model, Network, Part, PartLayers
from core.errors import Problem
from core.networks._layers import LayerChoice, Layers, candidates_in, choose_layers, is_linear
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

    @classmethod
    def unknown(cls, name: str) -> str:
        if name in ("decompose", "decompose_by"):
            return f"{cls.label} has no DoRA ({name}); LoRA, LoCon, LoHa and LoKr have it"
        return super().unknown(name)

    def own_rates(self) -> list[str]:
        ratios = [name for name in ("lora_plus_ratio", "lora_plus_text_ratio") if getattr(self, name, 0) not in (0, 1)]
        fixed = [f"rules.{index}.learning_rate" for index, rule in enumerate(self.rules) if rule.learning_rate]
        factors = [i for i, rule in enumerate(self.rules) if rule.learning_rate_factor != 1]
        return [*ratios, *fixed, *(f"rules.{index}.learning_rate_factor" for index in factors)]

    def rank_beside(self) -> int:
        """Of the plain LoRA that is saved beside the file; 0: none is."""
        return 0

    def beside_names(self) -> list[str]:
        return ["plain"] if self.rank_beside() else []

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

    def chosen(self, model: Model, parts: Mapping[Part, PartLayers]) -> dict[Part, Layers]:
        """The layers of each part that are changed, if no rule says otherwise."""
        return choose_layers(self, {part: model.parts[part] for part in parts}, parts, self.suits)

    def targets(self, model: Model, parts: Mapping[Part, PartLayers]) -> dict[Part, list[Target]]:
        """The layers of each part that are changed, in the model's order."""
        from core.networks._attached import Target

        layers = self.chosen(model, parts)
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

    def build(self, target: Target) -> Change:
        """The trained module of a layer."""
        if is_norm(target.layer):
            from core.networks._modules.norm import NormChange

            return NormChange(target.path, target.layer, dropout=self.dropout, module_dropout=self.module_dropout)
        return self.make(target.path, target.layer, target.rank, target.alpha)

    def options(self) -> dict[str, Any]:
        """What the trained modules are told, besides rank and alpha."""
        return {"dropout": self.dropout, "module_dropout": self.module_dropout}

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
        return {"algo": self.algorithm} | given({"module_dropout": self.module_dropout})


class LayerAdapter(Adapter):
    """Changes linear layers and convolutions; norms too, if that is wished."""

    train_norms: bool = setting(
        False,
        "Train norms",
        "Also trains the scales and shifts of the denoiser's normalisation layers.",
        level="advanced",
        also=("train_norm",),
    )

    save_plain: bool = setting(
        False,
        "Also save a plain LoRA",
        "Writes NAME_plain.safetensors beside each file, for programs that don't load this kind: a plain LoRA of the "
        "same effect, or the nearest of a rank.",
        level="advanced",
        affects="files",
    )
    plain_rank: int = setting(
        64,
        "Rank of the plain LoRA",
        "At most; layers that need less have less. A message tells how much of the change it holds.",
        ge=1,
        le=1024,
        level="advanced",
        affects="files",
        shown_if={"save_plain": [True]},
    )

    def check(self) -> Iterator[Problem]:
        yield from super().check()
        if self.save_plain and self.is_plain():
            yield Problem("save_plain", "the file is a plain LoRA already; switch this off", {"save_plain": False})

    def is_plain(self) -> bool:
        """Whether the file is a plain LoRA, which every program loads."""
        return False

    def rank_beside(self) -> int:
        return self.plain_rank if self.save_plain else 0

    def chosen(self, model: Model, parts: Mapping[Part, PartLayers]) -> dict[Part, Layers]:
        layers = super().chosen(model, parts)
        if self.train_norms and "denoiser" in layers:
            layers["denoiser"] = [*layers["denoiser"], *self._norms(model.parts["denoiser"])]
        return layers

    def _norms(self, module: nn.Module) -> Layers:
        """The normalisation layers that `train_norms` is about."""
        left_out = [re.compile(pattern) for pattern in self.exclude]
        found = candidates_in(module, is_norm)
        return [one for one in found if not any(pattern.search(f"denoiser.{one[0]}") for pattern in left_out)]

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | given({"train_norm": self.train_norms})


class Ranked(LayerAdapter):
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
    conv_rank: int = setting(
        0,
        "Convolution rank",
        "Size of the update of convolutions, where these are changed (not of 1x1 ones). 0: the rank above.",
        ge=0,
        le=1024,
        level="advanced",
        also=("conv_dim",),
    )
    conv_alpha: float = setting(
        0.0,
        "Convolution alpha",
        "The update of convolutions is multiplied by this / its rank. 0: the alpha above.",
        ge=0,
        le=4096,
        level="advanced",
    )
    rank_stabilised: bool = setting(
        False,
        "Rank-stabilised scale",
        "Multiplies the update by alpha / √rank instead, so that a larger rank needs no other learning rate.",
        level="advanced",
        also=("rs_lora", "rslora", "use_rslora"),
    )

    def size(self, path: str, layer: nn.Module) -> tuple[int, float]:
        """1x1 convolutions and linear layers have the network's own rank, as with kohya and LyCORIS."""
        if is_linear(layer):
            return self.rank, self.alpha
        return self.conv_rank or self.rank, self.conv_alpha or self.alpha

    def scaled(self, rank: int, alpha: float) -> float:
        """Rank-stabilised (Kalajdzievski 2023): alpha √rank / rank = alpha / √rank."""
        return alpha * math.sqrt(rank) if self.rank_stabilised else alpha

    def metadata(self) -> dict[str, str]:
        sizes = {"ss_network_dim": str(self.rank), "ss_network_alpha": str(self.scaled(self.rank, self.alpha))}
        return super().metadata() | sizes

    def arguments(self) -> dict[str, Any]:
        sizes = {"conv_dim": self.conv_rank, "conv_alpha": self.conv_alpha, "rs_lora": self.rank_stabilised}
        return super().arguments() | given(sizes)


def is_norm(layer: Any) -> bool:
    """Whether a module is a normalisation layer with a scale and a shift."""
    from torch import nn

    known = isinstance(layer, nn.LayerNorm | nn.GroupNorm)
    return known and layer.weight is not None and layer.bias is not None


def given(arguments: dict[str, Any]) -> dict[str, Any]:
    """Only those that were set."""
    return {name: value for name, value in arguments.items() if value}
