"""SGD with its momentum in 8 bits, from bitsandbytes."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from core.optimizers._bitsandbytes import BitsAndBytes, in_8_bits, min_8bit_size
from core.optimizers._settings import weight_decay
from core.settings import setting
from core.settings.bases import OptimizerConfig


class SGD8bit(BitsAndBytes):
    """SGD with momentum, which takes one byte for each weight. bitsandbytes has it without Nesterov's."""

    label: ClassVar[str] = "SGD 8-bit"
    programs_call_it: ClassVar[tuple[str, ...]] = ("SGD8bit", "SGD_8BIT", "SGDNesterov8bit")
    state_bytes_per_weight: ClassVar[float] = in_8_bits(1)
    sensible_rates: ClassVar[tuple[float, float]] = (0.0, 100.0)
    usual_rate: ClassVar[float] = 0.1
    instead: ClassVar[str] = "sgd"
    theirs: ClassVar[str] = "SGD8bit"

    name: Literal["sgd8bit"] = "sgd8bit"
    momentum: float = setting(0.9, "Momentum", "How long gradients are remembered.", gt=0, lt=1, level="advanced")
    weight_decay: float = weight_decay()
    min_8bit_size: int = min_8bit_size()

    @classmethod
    def like(cls) -> OptimizerConfig:
        from core.optimizers.sgd import SGD

        return SGD(momentum=0.9)

    def arguments(self) -> dict[str, Any]:
        return {
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
            "min_8bit_size": self.min_8bit_size,
        }
