"""LoRA: a low-rank update of the linear layers."""

from typing import ClassVar, Literal

from core.networks._low_rank import LowRank


class Lora(LowRank):
    """The usual choice: small, and every program loads it."""

    label: ClassVar[str] = "LoRA"
    algorithm: ClassVar[str] = "lora"

    name: Literal["lora"] = "lora"
