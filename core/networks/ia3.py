"""(IA)³: one factor for each output of a layer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.contracts import Model, Part, PartLayers
from core.networks._adapter import LayerAdapter, given
from core.networks._layers import Layers
from core.networks._programs import IGNORED, REFUSED, loads
from core.settings import setting

if TYPE_CHECKING:
    from torch import nn

    from core.networks._modules.change import Change


# Of a UNet, and of CLIP: LyCORIS' preset ia3
INPUTS = r"(ff\.net\.2|mlp\.fc2)$"
PAPER = r"(to_k|to_v|k_proj|v_proj|ff\.net\.2|mlp\.fc2)$"


class Ia3(LayerAdapter):
    """One factor for each output of a layer: the smallest of all, for a style or a word; wants a high learning rate.

    Liu et al. 2022, arXiv 2205.05638. Learning rates of 1e-3 to 1e-2 are usual.
    """

    label: ClassVar[str] = "(IA)³"
    algorithm: ClassVar[str] = "ia3"

    name: Literal["ia3"] = "ia3"
    layers: Literal[  # type: ignore[assignment]
        "paper", "attention", "attention_mlp", "transformer", "transformer_conv", "linear", "all", "patterns"
    ] = setting(
        "paper",
        "Layers",
        "paper: outputs of keys and values, and inputs of the second feed-forward layers. attention: where prompt and "
        "picture meet. attention_mlp: also the feed-forward layers after it. transformer: also the layers around both. "
        "transformer_conv: also the convolutions between. linear: every linear layer and 1x1 convolution. all: every "
        "convolution too. patterns: only what is included below.",
        level="advanced",
        also=("preset",),
    )
    train_on_input: bool = setting(
        False,
        "On the input",
        "One factor for each input of a layer instead.",
        level="advanced",
        shown_if={
            "layers": ["attention", "attention_mlp", "transformer", "transformer_conv", "linear", "all", "patterns"]
        },
    )

    def chosen(self, model: Model, parts: Mapping[Part, PartLayers]) -> dict[Part, Layers]:
        if self.layers != "paper":
            return super().chosen(model, parts)
        named = self.model_copy(update={"layers": "patterns", "include": [PAPER, *self.include]})
        return LayerAdapter.chosen(named, model, parts)

    def make(self, name: str, layer: nn.Module, rank: int, alpha: float) -> Change:
        from core.networks._modules.ia3 import Ia3Change

        on_input = bool(re.search(INPUTS, name)) if self.layers == "paper" else self.train_on_input
        return Ia3Change(name, layer, train_on_input=on_input, **self.options())

    def loads_in(self) -> dict[str, str]:
        told = {"ComfyUI": IGNORED, "Forge": IGNORED, "diffusers": REFUSED}
        if self.layers not in ("paper", "attention", "attention_mlp"):
            told["A1111"] = "Fails at convolutions, which SD 1.5 has in its transformers too: proj_in and proj_out."
        return loads(told | {"LyCORIS": "Can't read its own files of this kind."})

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | given({"train_on_input": self.train_on_input})
