"""AdaGrad with its state in 8 bits, from bitsandbytes."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from core.optimizers._bitsandbytes import BitsAndBytes, in_8_bits, min_8bit_size
from core.optimizers._settings import epsilon, weight_decay
from core.settings.bases import OptimizerConfig


class Adagrad8bit(BitsAndBytes):
    """AdaGrad with a quarter of its state."""

    label: ClassVar[str] = "AdaGrad 8-bit"
    programs_call_it: ClassVar[tuple[str, ...]] = ("Adagrad8bit", "ADAGRAD_8BIT")
    state_bytes_per_weight: ClassVar[float] = in_8_bits(1)
    usual_rate: ClassVar[float] = 1e-2
    instead: ClassVar[str] = "adagrad"
    theirs: ClassVar[str] = "Adagrad8bit"

    name: Literal["adagrad8bit"] = "adagrad8bit"
    weight_decay: float = weight_decay()
    eps: float = epsilon(1e-10)
    min_8bit_size: int = min_8bit_size()

    @classmethod
    def like(cls) -> OptimizerConfig:
        from core.optimizers.adagrad import Adagrad

        return Adagrad()

    def arguments(self) -> dict[str, Any]:
        return {
            "weight_decay": self.weight_decay,
            "eps": self.eps,
            "min_8bit_size": self.min_8bit_size,
        }
