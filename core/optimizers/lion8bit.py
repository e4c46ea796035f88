"""Lion with its state in 8 bits, from bitsandbytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._bitsandbytes import BitsAndBytes, in_8_bits, min_8bit_size, paged
from core.optimizers._settings import check_betas, lions_betas, weight_decay
from core.settings.bases import OptimizerConfig


class Lion8bit(BitsAndBytes):
    """Lion with a quarter of its state, an eighth of AdamW's. Wants a third to a tenth of AdamW's rate."""

    label: ClassVar[str] = "Lion 8-bit"
    programs_call_it: ClassVar[tuple[str, ...]] = ("Lion8bit", "LION_8BIT", "PagedLion8bit")
    state_bytes_per_weight: ClassVar[float] = in_8_bits(1)
    usual_rate: ClassVar[float] = 3e-5
    theirs: ClassVar[str] = "Lion8bit"

    name: Literal["lion8bit"] = "lion8bit"
    betas: list[float] = lions_betas()
    weight_decay: float = weight_decay()
    min_8bit_size: int = min_8bit_size()
    paged: bool = paged()

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)

    @classmethod
    def like(cls) -> OptimizerConfig:
        from core.optimizers.lion import Lion

        return Lion()

    def arguments(self) -> dict[str, Any]:
        return {
            "betas": tuple(self.betas),
            "weight_decay": self.weight_decay,
            "min_8bit_size": self.min_8bit_size,
            "is_paged": self.paged,
        }
