"""Reads LoRA files of any naming: kohya's and LyCORIS', diffusers' and peft's."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.contracts import Part
from core.errors import ModelFileError
from core.weights.layouts import kohya_lora_modules
from core.weights.layouts.clip import clip_name
from core.weights.layouts.layout import layout_of

if TYPE_CHECKING:
    from torch import Tensor

Layer = tuple[Part, str]
"""A layer of a model: part and path."""

PARTS: Mapping[str, Part] = {
    "unet": "denoiser",
    "transformer": "denoiser",
    "text_encoder": "text_1",
    "text_encoder_2": "text_2",
}
"""What diffusers' names of tensors begin with."""

# How a tensor's name ends with diffusers and peft (of old versions too) -> with kohya.
_ENDS: Mapping[str, str] = {
    ".lora_A.weight": "lora_down.weight",
    ".lora_B.weight": "lora_up.weight",
    ".lora_A.default.weight": "lora_down.weight",
    ".lora_B.default.weight": "lora_up.weight",
    ".lora_linear_layer.down.weight": "lora_down.weight",
    ".lora_linear_layer.up.weight": "lora_up.weight",
    ".lora.down.weight": "lora_down.weight",
    ".lora.up.weight": "lora_up.weight",
    "_lora.down.weight": "lora_down.weight",
    "_lora.up.weight": "lora_up.weight",
    ".lora_magnitude_vector": "dora_scale",
    ".lora_magnitude_vector.weight": "dora_scale",
    ".lora_magnitude_vector.default.weight": "dora_scale",
}


@dataclass
class LoraFile:
    """A LoRA file's tensors, by the layers of a model.

    layers: layer -> suffix, as kohya and LyCORIS write it (`lora_up.weight`, `alpha`, `hada_w1_a`) -> tensor on the
    CPU, in the file's dtype. elsewhere: part -> names of its layers, of parts that weren't asked for.
    unknown: names that belong to no layer of the model.
    """

    path: Path
    layers: dict[Layer, dict[str, Tensor]] = field(default_factory=dict)
    elsewhere: dict[Part, list[str]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def read_lora(path: Path, modules: Mapping[Part, Collection[str]], family: str) -> LoraFile:
    """The tensors of a LoRA file. ModelFileError if it can't be read, or holds nothing of a LoRA.

    modules: the paths of all modules of the parts that are asked for.
    diffusers' and peft's files have no alpha beside each layer: it is what their metadata say, else the rank, which is
    a scale of 1 (diffusers, get_peft_kwargs).
    """
    from core.weights.files import open_tensors

    names = _Names(modules, family)
    found = LoraFile(path)
    layers: dict[Layer, dict[str, Tensor]] = defaultdict(dict)
    elsewhere: dict[Part, set[str]] = defaultdict(set)
    unknown: set[str] = set()
    with open_tensors(path) as reader:
        said = _metadata(reader.header.metadata)
        for key in reader.header.tensors:
            name, suffix, native = split(key)
            place = names.find(name, native)
            if isinstance(place, tuple):
                tensor = reader.read(key)
                layers[place][suffix] = tensor.reshape(-1, 1) if native and suffix == "dora_scale" else tensor
                if native:
                    _give_alpha(layers[place], said, name)
            elif place:
                elsewhere[place].add(name)
            else:
                unknown.add(name)
    if not layers and not elsewhere:
        raise ModelFileError(
            f"{path} is no LoRA of this base model's kind.",
            f"Its first tensor is {next(iter(sorted(unknown)), 'missing')}.",
            "Choose a LoRA that was trained on a model of the same family.",
        )
    found.layers = dict(layers)
    found.elsewhere = {part: sorted(those) for part, those in elsewhere.items()}
    found.unknown = sorted(unknown)
    return found


def split(key: str) -> tuple[str, str, bool]:
    """A tensor's name as its layer's, its suffix as kohya's, and whether it is a name of diffusers or peft."""
    for end, suffix in _ENDS.items():
        if key.endswith(end):
            name = key.removesuffix(end).removeprefix("base_model.model.")
            name = re.sub(r"\.processor\.(to_out)?", lambda match: f".{match[1]}.0" if match[1] else ".", name)
            return name, suffix, True
    name, _, suffix = key.partition(".")
    return name, suffix, False


class _Names:
    """Finds a model's layers by their names in LoRA files."""

    def __init__(self, modules: Mapping[Part, Collection[str]], family: str) -> None:
        self._kohya = {
            name: (part, path)
            for part, paths in modules.items()
            for name, path in kohya_lora_modules(part, paths, family).items()
        }
        self._paths = {(part, _plain(part, path)): path for part, paths in modules.items() for path in paths}
        layout = layout_of(family)
        self._prefixes = {prefix: part for part in layout for prefix in layout[part].lora_prefixes}
        self._asked = set(modules)

    def find(self, name: str, native: bool) -> Layer | Part | None:
        """The layer of a name; only its part, if that wasn't asked for; None if there is none."""
        if not native:
            part = next((part for prefix, part in self._prefixes.items() if name.startswith(prefix)), None)
            return self._kohya.get(name) or (part if part not in self._asked else None)
        first, _, rest = name.partition(".")
        part, path = (PARTS[first], rest) if first in PARTS else ("denoiser", name)
        if part not in self._asked:
            return part
        found = self._paths.get((part, _plain(part, path)))
        return (part, found) if found else None


def _plain(part: Part, path: str) -> str:
    return clip_name(path) if part.startswith("text_") else path


def _metadata(metadata: Mapping[str, str]) -> Mapping[str, Any]:
    """What diffusers writes of a LoRA's settings: `unet.lora_alpha` -> 16."""
    try:
        said = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    except json.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _give_alpha(layer: dict[str, Tensor], said: Mapping[str, Any], name: str) -> None:
    """The alpha of a layer of diffusers' or peft's file."""
    import torch

    if "lora_down.weight" not in layer or "alpha" in layer:
        return
    first, _, rest = name.partition(".")
    pattern = said.get(f"{first}.alpha_pattern") or {}
    own = next((value for key, value in pattern.items() if re.fullmatch(rf"(.*\.)?{key}", rest)), None)
    alpha = own or said.get(f"{first}.lora_alpha") or len(layer["lora_down.weight"])
    if said.get(f"{first}.use_rslora"):
        alpha = alpha * len(layer["lora_down.weight"]) ** 0.5
    layer["alpha"] = torch.tensor(float(alpha))
