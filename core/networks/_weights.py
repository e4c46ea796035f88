"""Starting from an existing LoRA: its weights, and its ranks and alphas if wished, instead of new ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from core.contracts import Model, Network, Part, PartLayers
from core.errors import OchreError, Problem
from core.networks._adapter import Adapter
from core.networks._norms import multiply
from core.settings import setting

if TYPE_CHECKING:
    from torch import Tensor

    from core.networks._attached import Attached, Target
    from core.weights.loras import Layer, LoraFile

RANKS = ("lora_down.weight", "hada_w1_b", "lokr_w2_b", "lokr_w1_b")
"""Tensors whose first side is the rank, by algorithm."""


class StartFrom(Adapter):
    """An algorithm that can go on from a file."""

    weights: str = setting(
        "",
        "Start from a file",
        "A LoRA of this algorithm, whose training goes on: of kohya's, LyCORIS', diffusers' or peft's naming.",
        kind="file",
        level="advanced",
        also=("network_weights", "lora_model_name"),
    )
    weights_rank: bool = setting(
        False,
        "Ranks of the file",
        "Each layer has the rank and alpha that it has in the file, whatever is set here.",
        level="advanced",
        also=("dim_from_weights",),
    )
    weights_fit: Literal["exact", "partly"] = setting(
        "exact",
        "Fit of the file",
        "exact: the file has just the layers that are trained here. partly: its other layers are left out, and those "
        "that it lacks begin anew.",
        level="advanced",
    )

    def check(self) -> Iterator[Problem]:
        yield from super().check()
        if not self.weights and self.weights_rank:
            yield Problem("weights_rank", "needs a file to take the ranks from; choose weights, or switch this off")
        if not self.weights and self.weights_fit != "exact":
            yield Problem("weights_fit", "needs a file; choose weights, or set it to exact")
        if self.weights and getattr(self, "tucker", False):
            yield Problem("tucker", "can't begin from a file, which holds no such decomposition; switch it off")
        for index, rule in enumerate(self.rules if self.weights_rank else ()):
            for name in ("rank", "alpha"):
                if getattr(rule, name):
                    yield Problem(f"rules.{index}.{name}", "is taken from the file, by weights_rank; set it to 0")

    def attach(self, model: Model, parts: Mapping[Part, PartLayers]) -> Network:
        if not self.weights:
            return super().attach(model, parts)
        from core.networks._attached import Attached
        from core.weights.loras import read_lora

        modules = {part: [path for path, _ in model.parts[part].named_modules() if path] for part in parts}
        file = read_lora(Path(self.weights).expanduser(), modules, model.family)
        targets = self.targets(model, parts)
        self._check_layers(file, targets)
        if self.weights_rank:
            targets = {
                part: [_resized(target, file.layers.get((part, target.path))) for target in those]
                for part, those in targets.items()
            }
        attached = Attached(self, model, targets)
        self._put_in(file, attached)
        return attached

    def _check_layers(self, file: LoraFile, targets: Mapping[Part, Sequence[Target]]) -> None:
        """OchreError for layers that aren't in both, unless these may be left out; and for what isn't known at all."""
        here = {(part, target.path) for part, those in targets.items() for target in those}
        if file.unknown:
            raise OchreError(
                f"{file.path} has {_count(file.unknown, 'name')} that this base model has no layer for.",
                f"The first is {file.unknown[0]}.",
                "Choose a LoRA that was trained on a model of the same family.",
            )
        others = [name for names in file.elsewhere.values() for name in names]
        others += [f"{part}.{path}" for part, path in sorted(file.layers.keys() - here)]
        missing = [f"{part}.{path}" for part, path in sorted(here - file.layers.keys())]
        if not here & file.layers.keys():
            raise OchreError(
                f"{file.path} has none of the layers that are trained here.",
                f"It has {_count(others, 'layer')}; the first is {others[0]}.",
                "Train the part that it is of, choose other layers, or choose another file.",
            )
        if self.weights_fit == "exact" and (others or missing):
            raise OchreError(
                f"{file.path} doesn't have just the layers that are trained here.",
                " ".join(
                    f"{_count(names, 'layer')} {where}; the first is {names[0]}."
                    for names, where in ((others, "of it would be left out"), (missing, "would begin anew"))
                    if names
                ),
                "Train the same parts and layers as the file, or set the network's weights_fit to partly.",
            )

    def _put_in(self, file: LoraFile, attached: Attached) -> None:
        """Give each trained module its weights from the file. OchreError where they don't fit."""
        for layer, change in attached.changes():
            if tensors := file.layers.get(layer):
                own = change.to_file()
                self._check_tensors(file, layer, tensors, own)
                change.take({name: tensor.float() for name, tensor in tensors.items()})
                if (ratio := _alpha(tensors) / _alpha(own)) != 1:
                    multiply(change, ratio)

    def _check_tensors(
        self, file: LoraFile, layer: Layer, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]
    ) -> None:
        name = ".".join(layer)
        kinds = [{*those} - {"alpha"} for those in (tensors, own)]
        if kinds[0] != kinds[1]:
            there, here = (", ".join(sorted(kind)) for kind in kinds)
            raise OchreError(
                f"{file.path} is of another algorithm, or of one with other settings.",
                f"Of {name} it has {there}; here are {here}.",
                "Choose the algorithm that the file was trained with, and its settings (DoRA, Tucker, factor).",
            )
        for suffix in sorted(kinds[0]):
            there, here = _sides(tensors[suffix]), _sides(own[suffix])
            if there != here:
                rank = rank_of(tensors)
                advice = f"Set rank to {rank} for this layer, or switch weights_rank on, which takes it from the file."
                raise OchreError(
                    f"{file.path} doesn't fit this network.",
                    f"Its {name}.{suffix} is {_by(there)}; here it is {_by(here)}.",
                    advice if rank and rank != rank_of(own) else "Use the settings that the file was trained with.",
                )


def rank_of(tensors: Mapping[str, Tensor]) -> int:
    """The rank of a layer's tensors; 0 where they have none."""
    return next((len(tensors[name]) for name in RANKS if name in tensors), 0)


def _alpha(tensors: Mapping[str, Tensor]) -> float:
    """The alpha of a layer: its rank, where none is written (as with peft, and kohya's first files).

    1 where alpha has no meaning: LoKr with two whole factors writes one, and no program uses it.
    """
    if "lokr_w1" in tensors and "lokr_w2" in tensors:
        return 1.0
    return float(tensors["alpha"]) if "alpha" in tensors else float(rank_of(tensors) or 1)


def _resized(target: Target, tensors: Mapping[str, Tensor] | None) -> Target:
    if not tensors or not (rank := rank_of(tensors)):
        return target
    return replace(target, rank=rank, alpha=_alpha(tensors))


def _sides(tensor: Any) -> list[int]:
    """The shape, without the last sides of 1: a linear layer's half may be written as a 1x1 convolution's."""
    sides = list(tensor.shape)
    while len(sides) > 2 and sides[-1] == 1:
        del sides[-1]
    return sides


def _by(sides: Sequence[int]) -> str:
    return "x".join(str(side) for side in sides) or "one number"


def _count(names: Sequence[str], what: str) -> str:
    return f"{len(names)} {what}{'' if len(names) == 1 else 's'}"
