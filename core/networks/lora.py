"""LoRA: a low-rank update of each linear layer."""

from __future__ import annotations

from typing import ClassVar, Literal

from core.settings import setting
from core.settings.bases import NetworkConfig


class Lora(NetworkConfig):
    """A low-rank update of linear layers (Hu et al. 2021): W + alpha / rank * up @ down."""

    label: ClassVar[str] = "LoRA"
    loads_in: ClassVar[tuple[str, ...]] = ("ComfyUI", "Forge", "A1111", "diffusers")

    name: Literal["lora"] = "lora"
    rank: int = setting(
        16,
        "Rank",
        "Size of the update. Larger learns more and makes a larger file.",
        ge=1,
        le=1024,
        also=("network_dim",),
    )
