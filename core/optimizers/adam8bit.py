"""Adam with its state in 8 bits, from bitsandbytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._bitsandbytes import BitsAndBytes, in_8_bits, min_8bit_size, paged
from core.optimizers._settings import adams_betas, check_betas, epsilon, weight_decay
from core.settings.bases import OptimizerConfig


class Adam8bit(BitsAndBytes):
    """Adam with a quarter of its state. Weight decay is AdamW's here, so that only its usual value tells the two apart.

    OneTrainer's entry of this name keeps 32-bit state; this one doesn't.
    """

    label: ClassVar[str] = "Adam 8-bit"
    programs_call_it: ClassVar[tuple[str, ...]] = ("Adam8bit", "ADAM_8BIT", "PagedAdam8bit")
    state_bytes_per_weight: ClassVar[float] = in_8_bits(2)
    instead: ClassVar[str] = "adam"
    theirs: ClassVar[str] = "Adam8bit"

    name: Literal["adam8bit"] = "adam8bit"
    betas: list[float] = adams_betas()
    weight_decay: float = weight_decay()
    eps: float = epsilon()
    min_8bit_size: int = min_8bit_size()
    paged: bool = paged()

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)

    @classmethod
    def like(cls) -> OptimizerConfig:
        from core.optimizers.adam import Adam

        return Adam()

    def arguments(self) -> dict[str, Any]:
        return {
            "betas": tuple(self.betas),
            "weight_decay": self.weight_decay,
            "eps": self.eps,
            "min_8bit_size": self.min_8bit_size,
            "is_paged": self.paged,
        }
