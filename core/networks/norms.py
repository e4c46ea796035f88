"""Norms: the scales and shifts of normalisation layers, and nothing else."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from core.networks._adapter import Adapter, is_norm
from core.networks._programs import REFUSED, loads
from core.settings import setting


class Norms(Adapter):
    """Trains the normalisation layers alone: tiny files, for colours, contrast and a touch of style."""

    label: ClassVar[str] = "Norms"
    algorithm: ClassVar[str] = "full"

    name: Literal["norms"] = "norms"
    layers: Literal["all", "patterns"] = setting(  # type: ignore[assignment]
        "all", "Layers", "all: every normalisation layer. patterns: only what is included below.", level="advanced"
    )

    def suits(self, layer: Any) -> bool:
        return is_norm(layer)

    def loads_in(self) -> dict[str, str]:
        without = "Leaves those of the text encoders out, if they are trained."
        return loads({"ComfyUI": without, "Forge": without, "diffusers": REFUSED})
