"""AdEMAMix with its state in 8 bits, from bitsandbytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._bitsandbytes import (
    BitsAndBytes,
    ademamix_alpha,
    ademamix_betas,
    ademamix_warmup,
    beta3_warmup,
    in_8_bits,
    min_8bit_size,
    paged,
)
from core.optimizers._settings import check_betas, epsilon, weight_decay
from core.settings.bases import OptimizerConfig


class AdEMAMix8bit(BitsAndBytes):
    """AdEMAMix with a quarter of its state, less than half of AdamW's."""

    label: ClassVar[str] = "AdEMAMix 8-bit"
    programs_call_it: ClassVar[tuple[str, ...]] = ("AdEMAMix8bit", "AdEMAMix_8BIT", "PagedAdEMAMix8bit")
    state_bytes_per_weight: ClassVar[float] = in_8_bits(3)
    theirs: ClassVar[str] = "AdEMAMix8bit"

    name: Literal["ademamix8bit"] = "ademamix8bit"
    betas: list[float] = ademamix_betas()
    alpha: float = ademamix_alpha()
    t_alpha: int = ademamix_warmup()
    t_beta3: int = beta3_warmup()
    weight_decay: float = weight_decay(0.01)
    eps: float = epsilon()
    min_8bit_size: int = min_8bit_size()
    paged: bool = paged()

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)

    @classmethod
    def like(cls) -> OptimizerConfig:
        from core.optimizers.ademamix import AdEMAMix

        return AdEMAMix()

    def arguments(self) -> dict[str, Any]:
        return {
            "betas": tuple(self.betas),
            "alpha": self.alpha,
            "t_alpha": self.t_alpha or None,
            "t_beta3": self.t_beta3 or None,
            "weight_decay": self.weight_decay,
            "eps": self.eps,
            "min_8bit_size": self.min_8bit_size,
            "is_paged": self.paged,
        }
