"""Prodigy, from prodigyopt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.contracts import Part
from core.errors import Problem
from core.optimizers._settings import adams_betas, check_betas
from core.optimizers._library import LibraryOptimizer
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Prodigy(LibraryOptimizer):
    """Finds the learning rate by itself: set the rates to 1, and the schedule to constant or cosine.

    Prodigy: An Expeditiously Adaptive Parameter-Free Learner, Mishchenko and Defazio 2024, algorithm 4.
    """

    label: ClassVar[str] = "Prodigy"
    library: ClassVar[str] = "prodigyopt"
    module: ClassVar[str] = "prodigyopt"
    state_bytes_per_weight: ClassVar[float] = 16.0
    sensible_rates: ClassVar[tuple[float, float]] = (0.01, 10.0)
    usual_rate: ClassVar[float] = 1.0

    name: Literal["prodigy"] = "prodigy"
    d_coef: float = setting(
        1.0,
        "D coefficient",
        "Multiplies the rate that it finds; 0.5 to 2 is usual, lower is more careful.",
        gt=0,
    )
    d0: float = setting(
        1e-6, "First D", "The rate that it begins with, before it has found one.", gt=0, level="advanced"
    )
    growth_rate: float = setting(
        0.0,
        "Growth limit",
        "The rate grows by no more than this factor at a step, for example 1.02; 0 is no limit.",
        ge=0,
        level="advanced",
    )
    use_bias_correction: bool = setting(
        False, "Bias correction", "Adam's: begins gently, as with a warm-up.", level="advanced"
    )
    safeguard_warmup: bool = setting(
        False,
        "Safe with warm-up",
        "Keeps the schedule's warm-up from making the rate too high. Switch it on when there is a warm-up.",
        level="advanced",
    )
    betas: list[float] = adams_betas()
    weight_decay: float = setting(
        0.0, "Weight decay", "Pulls weights towards zero at each step.", ge=0, level="advanced"
    )
    decouple: bool = setting(
        True, "Decoupled decay", "Weight decay as in AdamW; off, it is added to the gradient.", level="advanced"
    )
    eps: float = setting(1e-8, "Epsilon", "Keeps the division stable.", gt=0, level="advanced")
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
        if 0 < self.growth_rate <= 1:
            yield Problem("growth_rate", f"must be greater than 1, or 0 for no limit (it is {self.growth_rate:g})")

    def check_rates(self, rates: Mapping[Part, float]) -> Iterator[Problem]:
        yield from super().check_rates(rates)
        first, *others = [(part, rate) for part, rate in rates.items() if rate] or [("", 0.0)]
        for part, rate in others:
            if rate != first[1]:
                path = f"parts.{part}.learning_rate"
                message = f"must be the same as {first[0]}'s ({first[1]:g}): Prodigy finds one rate for all parts"
                yield Problem(path, message, {path: first[1]})

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from prodigyopt import Prodigy

        beta_1, beta_2 = self.betas
        return Prodigy(
            # the decay goes with the groups: given as an argument, prodigyopt prints a line about it
            [{"weight_decay": self.weight_decay, **group} for group in groups],
            betas=(beta_1, beta_2),
            eps=self.eps,
            decouple=self.decouple,
            use_bias_correction=self.use_bias_correction,
            safeguard_warmup=self.safeguard_warmup,
            d0=self.d0,
            d_coef=self.d_coef,
            growth_rate=self.growth_rate or math.inf,
            slice_p=self.slice_p,
        )
