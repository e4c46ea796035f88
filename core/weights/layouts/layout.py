"""What a family's files call its parts: one `LAYOUT` per family, in the file of its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from core.contracts import Part

if TYPE_CHECKING:
    from torch import Tensor

    from core.weights.layouts.unet import UNetShape


@dataclass(frozen=True)
class PartLayout:
    """One part of a model in files.

    prefix: what its tensors' names begin with in a single-file checkpoint.
    to_diffusers, to_original: rename (and reshape) its tensors, between diffusers' names and those behind the prefix.
    lora_prefixes: what its modules' names begin with in a LoRA; the first is written, all are read.
    lora_unet: the real UNet's shape, where its LoRA has the original names (as kohya's of SDXL) instead of diffusers'.
    """

    prefix: str
    to_diffusers: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    to_original: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    lora_prefixes: tuple[str, ...] = ()
    lora_unet: UNetShape | None = None


def layout_of(family: str) -> Mapping[Part, PartLayout]:
    """The layout of a family, by the family's name."""
    return import_module(f"core.weights.layouts.{family}").LAYOUT
