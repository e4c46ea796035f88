"""RMSprop with its state in 8 bits, from bitsandbytes."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from core.optimizers._bitsandbytes import BitsAndBytes, in_8_bits, min_8bit_size
from core.optimizers._settings import epsilon, squares_memory, weight_decay
from core.settings.bases import OptimizerConfig


class RMSprop8bit(BitsAndBytes):
    """RMSprop with a quarter of its state. bitsandbytes has it without momentum."""

    label: ClassVar[str] = "RMSprop 8-bit"
    programs_call_it: ClassVar[tuple[str, ...]] = ("RMSprop8bit", "RMSPROP_8BIT")
    state_bytes_per_weight: ClassVar[float] = in_8_bits(1)
    instead: ClassVar[str] = "rmsprop"
    theirs: ClassVar[str] = "RMSprop8bit"

    name: Literal["rmsprop8bit"] = "rmsprop8bit"
    alpha: float = squares_memory()
    weight_decay: float = weight_decay()
    eps: float = epsilon()
    min_8bit_size: int = min_8bit_size()

    @classmethod
    def like(cls) -> OptimizerConfig:
        from core.optimizers.rmsprop import RMSprop

        return RMSprop()

    def arguments(self) -> dict[str, Any]:
        return {
            "alpha": self.alpha,
            "weight_decay": self.weight_decay,
            "eps": self.eps,
            "min_8bit_size": self.min_8bit_size,
        }
