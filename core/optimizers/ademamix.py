"""AdEMAMix, from bitsandbytes."""

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
    paged,
)
from core.optimizers._settings import check_betas, epsilon, weight_decay


class AdEMAMix(BitsAndBytes):
    """AdamW that remembers gradients twice, for some steps and for thousands: for long runs.

    The AdEMAMix Optimizer: Better, Faster, Older, Pagliardini et al. 2024, algorithm 1.
    """

    label: ClassVar[str] = "AdEMAMix"
    programs_call_it: ClassVar[tuple[str, ...]] = ("AdEMAMix", "PagedAdEMAMix", "AdEMAMix32bit")
    state_bytes_per_weight: ClassVar[float] = 12.0
    theirs: ClassVar[str] = "AdEMAMix"

    name: Literal["ademamix"] = "ademamix"
    betas: list[float] = ademamix_betas()
    alpha: float = ademamix_alpha()
    t_alpha: int = ademamix_warmup()
    t_beta3: int = beta3_warmup()
    weight_decay: float = weight_decay(0.01)
    eps: float = epsilon()
    paged: bool = paged()

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)

    def arguments(self) -> dict[str, Any]:
        return {
            "betas": tuple(self.betas),
            "alpha": self.alpha,
            "t_alpha": self.t_alpha or None,
            "t_beta3": self.t_beta3 or None,
            "weight_decay": self.weight_decay,
            "eps": self.eps,
            "is_paged": self.paged,
        }
