"""Which layers of a model a network changes: kinds of layers, and regular expressions over their paths."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from core.contracts import Part, PartLayers
from core.errors import OchreError, Problem
from core.settings import Settings, setting

if TYPE_CHECKING:
    from torch import nn

Layers = list[tuple[str, "nn.Module"]]
"""Path and module of layers, in the model's order."""

GROUPS: Mapping[str, Sequence[str]] = {
    "attention": ("attention",),
    "attention_mlp": ("attention", "feed_forward"),
    "transformer": ("transformer",),
    "transformer_conv": ("transformer", "convolution"),
}
"""Choice of layers -> a family's layer groups, of those choices that are made of such."""


class LayerChoice(Settings):
    """Which layers are changed.

    The choices and other programs: `transformer` is what kohya's LoRA changes, and LyCORIS' presets attn-mlp and
    unet-transformer-only but for the time embedding (which they take by the name of its class): include it with
    ["^denoiser.(time|add)_embedding"]. `transformer_conv` is what kohya's conv_dim adds to it. `linear` and `all` are
    LyCORIS' full-lin and full, but for SDXL's text_projection. unet-convblock-only is `patterns` with
    include = ["(resnets|downsamplers|upsamplers)", "conv_in$", "conv_out$"].
    kohya's include_patterns and exclude_patterns (Anima) match a whole path without the part, and there what is
    included stays, whatever is excluded: excluded `E` and included `I` are exclude = ["^denoiser\\.(?!(I)$)(E)$"].
    """

    layers: Literal["attention", "attention_mlp", "transformer", "transformer_conv", "linear", "all", "patterns"] = (
        setting(
            "transformer",
            "Layers",
            "attention: where prompt and picture meet. attention_mlp: also the feed-forward layers after it. "
            "transformer: also the layers around both, as kohya does. transformer_conv: also the convolutions between. "
            "linear: every linear layer and 1x1 convolution. all: every convolution too. patterns: only what is "
            "included below.",
            level="advanced",
            also=("preset", "layer_filter_preset", "enable_conv", "enable_all_linear"),
        )
    )
    include: list[str] = setting(
        [],
        "Further layers",
        "Regular expressions, one in each line. A layer is changed too if one is found in its name, such as "
        "denoiser.down_blocks.1.attentions.0.proj_in or text_1.encoder.layers.3.mlp.fc1.",
        kind="text",
        level="advanced",
        also=("include_patterns", "layer_filter", "target_name"),
    )
    exclude: list[str] = setting(
        [],
        "Layers left out",
        "Regular expressions, one in each line. A layer is left alone if one is found in its name, whatever else says.",
        kind="text",
        level="advanced",
        also=("exclude_patterns", "exclude_name"),
    )

    def check(self) -> Iterator[Problem]:
        yield from super().check()
        for name in ("include", "exclude"):
            for index, pattern in enumerate(getattr(self, name)):
                yield from pattern_problems(f"{name}.{index}", pattern)
        if self.layers == "patterns" and not self.include:
            yield Problem("include", "names no layer; write a pattern, or choose other layers than patterns")

    def layer_groups(self) -> Sequence[str]:
        """The families' layer groups that are changed. A text encoder may lack some."""
        return GROUPS.get(self.layers, ())


def pattern_problems(path: str, pattern: str) -> Iterator[Problem]:
    """What is wrong with a regular expression, of the setting at a path."""
    if not pattern.strip():
        yield Problem(path, "is empty, and would match every layer; take it out")
        return
    try:
        re.compile(pattern)
    except re.error as error:
        yield Problem(path, f"{pattern!r} is no regular expression: {error}")


def choose_layers(
    choice: LayerChoice,
    modules: Mapping[Part, nn.Module],
    found: Mapping[Part, PartLayers],
    suits: Callable[[Any], bool],
) -> dict[Part, Layers]:
    """The layers of each part that are changed: those chosen, and those included, without those excluded.

    suits: whether the algorithm can change such a module. OchreError for a pattern that matches nothing, or changes
    nothing, and for a part of which no layer is left.
    """
    candidates = {part: candidates_in(module, suits) for part, module in modules.items()}
    chosen = {part: _of_kind(choice, layers, found[part]) for part, layers in candidates.items()}
    for pattern in choice.include:
        more = matching(pattern, candidates)
        if not more:
            raise nothing_matches("include", pattern, candidates)
        chosen = {part: _joined(candidates[part], (chosen[part], more.get(part, ()))) for part in chosen}
    left = chosen
    for pattern in choice.exclude:
        fewer = matching(pattern, chosen)
        if not fewer:
            raise nothing_matches("exclude", pattern, chosen)
        gone = {(part, path) for part, layers in fewer.items() for path, _ in layers}
        left = {part: [layer for layer in layers if (part, layer[0]) not in gone] for part, layers in left.items()}
    for part, layers in left.items():
        if not layers:
            raise nothing_left(part, f"networks: layers = {choice.layers!r}, include and exclude")
    return left


def candidates_in(module: nn.Module, suits: Callable[[Any], bool]) -> Layers:
    """The layers of a part that could be changed, without what is attached to it already."""
    return [
        (path, layer) for path, layer in module.named_modules() if suits(layer) and not path.startswith("ochre_network")
    ]


def matching(pattern: str, layers: Mapping[Part, Layers]) -> dict[Part, Layers]:
    """The layers in whose full name (`part.path`) a regular expression is found; parts with none are missing."""
    wanted = re.compile(pattern)
    found = {
        part: [(path, m) for path, m in inside if wanted.search(f"{part}.{path}")] for part, inside in layers.items()
    }
    return {part: inside for part, inside in found.items() if inside}


def nothing_matches(where: str, pattern: str, layers: Mapping[Part, Layers]) -> OchreError:
    """The error for a regular expression that matches nothing."""
    names = [f"{part}.{path}" for part, inside in layers.items() for path, _ in inside]
    near = _nearest(pattern, names)
    return OchreError(
        f"{where}: {pattern!r} is found in the name of no layer that could be changed here.",
        f"The nearest are {', '.join(near)}." if near else "",
        "Correct it, or take it out.",
    )


def nothing_left(part: Part, where: str) -> OchreError:
    """The error for a part that is trained and of which nothing is changed."""
    return OchreError(
        f"Of {part} no layer would be changed, and it is set to be trained.",
        f"That is said by {where}.",
        f"Choose other layers, or switch parts.{part}.train off.",
    )


def is_linear(layer: Any) -> bool:
    """Whether a layer mixes channels alone: linear, or a 1x1 convolution."""
    return max(getattr(layer, "kernel_size", (1,))) == 1


def _of_kind(choice: LayerChoice, candidates: Layers, found: PartLayers) -> Layers:
    groups = [re.compile(found.groups[name]) for name in choice.layer_groups() if name in found.groups]
    return [
        (path, layer)
        for path, layer in candidates
        if choice.layers == "all"
        or (choice.layers == "linear" and is_linear(layer))
        or any(group.search(path) for group in groups)
    ]


def _joined(candidates: Layers, several: Sequence[Sequence[tuple[str, nn.Module]]]) -> Layers:
    """The candidates that are in any of several lists, in the model's order."""
    wanted = {path for layers in several for path, _ in layers}
    return [layer for layer in candidates if layer[0] in wanted]


def _nearest(pattern: str, names: Sequence[str], count: int = 3) -> list[str]:
    """The names that a pattern was most likely meant for: those whose last part of its length is nearest to it."""
    plain = re.sub(r"[\\^$()?:*+|\[\]]", "", pattern).strip(".")
    length = plain.count(".") + 1
    tails: dict[str, str] = {}
    for name in names:
        tails.setdefault(".".join(name.split(".")[-length:]), name)
    return [tails[tail] for tail in difflib.get_close_matches(plain, tails, count, 0)]
