"""Prodigy, from prodigyopt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._adaptive_rate import AdaptiveRate, check_growth, corrected, first_d, growth_rate
from core.optimizers._settings import (
    adams_betas,
    bias_correction,
    check_betas,
    decoupled_decay,
    epsilon,
    weight_decay,
)
from core.optimizers._zero_rates import leaving_out_zero_rates
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Prodigy(AdaptiveRate):
    """Finds the learning rate by itself: set the rates to 1, and the schedule to constant or cosine.

    Prodigy: An Expeditiously Adaptive Parameter-Free Learner, Mishchenko and Defazio 2024, algorithm 4.
    """

    label: ClassVar[str] = "Prodigy"
    programs_call_it: ClassVar[tuple[str, ...]] = ("Prodigy", "PRODIGY")
    library: ClassVar[str] = "prodigyopt"
    module: ClassVar[str] = "prodigyopt"
    state_bytes_per_weight: ClassVar[float] = 16.0

    name: Literal["prodigy"] = "prodigy"
    d_coef: float = setting(
        1.0,
        "D coefficient",
        "Multiplies the rate that it finds; 0.5 to 2 is usual, lower is more careful.",
        gt=0,
    )
    d0: float = first_d()
    growth_rate: float = growth_rate()
    use_bias_correction: bool = bias_correction()
    safeguard_warmup: bool = setting(
        False,
        "Safe with warm-up",
        "Keeps the schedule's warm-up from making the rate too high. Switch it on when there is a warm-up.",
        level="advanced",
    )
    betas: list[float] = adams_betas()
    beta3: float = setting(
        0.0,
        "Third beta",
        "How long the estimate of D is remembered; 0 is the root of the second.",
        ge=0,
        lt=1,
        level="advanced",
    )
    weight_decay: float = weight_decay()
    decouple: bool = decoupled_decay(True)
    eps: float = epsilon()
    slice_p: int = setting(
        1,
        "Look at every",
        "The rate is found from every so many weights; 11 gives nearly the same with almost half of the state.",
        ge=1,
        le=1000,
        unit="weights",
        level="advanced",
    )

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)
        yield from check_growth(self.growth_rate)

    def state_bytes(self) -> float:
        """Two remembered numbers for each weight (one without the first beta), and two for those that it looks at."""
        return (8.0 if self.betas[0] else 4.0) + 8.0 / self.slice_p

    def effective_rate(self, optimizer: Optimizer, group: Mapping[str, Any]) -> float:
        rate = super().effective_rate(optimizer, group)
        return rate * corrected(self.betas, group["k"]) if self.use_bias_correction else rate

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from prodigyopt import Prodigy

        beta_1, beta_2 = self.betas
        return leaving_out_zero_rates(Prodigy)(
            # the decay goes with the groups: given as an argument, prodigyopt prints a line about it
            [{"weight_decay": self.weight_decay, **group} for group in groups],
            betas=(beta_1, beta_2),
            beta3=self.beta3 or None,
            eps=self.eps,
            decouple=self.decouple,
            use_bias_correction=self.use_bias_correction,
            safeguard_warmup=self.safeguard_warmup,
            d0=self.d0,
            d_coef=self.d_coef,
            growth_rate=self.growth_rate or math.inf,
            slice_p=self.slice_p,
        )
