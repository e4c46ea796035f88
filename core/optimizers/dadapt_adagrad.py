"""AdaGrad with D-Adaptation, from dadaptation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._adaptive_rate import check_growth, first_d, growth_rate
from core.optimizers._d_adaptation import DAdaptation, limit
from core.optimizers._settings import epsilon, momentum, weight_decay


class DAdaptAdaGrad(DAdaptation):
    """AdaGrad that finds the learning rate by itself: set the rates to 1. Its library advises to take Adam's instead.

    Learning-Rate-Free Learning by D-Adaptation, Defazio and Mishchenko 2023, algorithm 2.
    """

    label: ClassVar[str] = "D-Adaptation AdaGrad"
    programs_call_it: ClassVar[tuple[str, ...]] = ("DAdaptAdaGrad", "DADAPT_ADA_GRAD")
    state_bytes_per_weight: ClassVar[float] = 12.0
    theirs: ClassVar[str] = "dadaptation.DAdaptAdaGrad"

    name: Literal["dadapt_adagrad"] = "dadapt_adagrad"
    d0: float = first_d()
    growth_rate: float = growth_rate()
    momentum: float = momentum()
    weight_decay: float = weight_decay()
    eps: float = epsilon(1e-6)

    def check(self) -> Iterator[Problem]:
        yield from check_growth(self.growth_rate)

    def arguments(self) -> dict[str, Any]:
        return {
            "d": self.d0,
            "growth_rate": limit(self.growth_rate),
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
            "eps": self.eps,
        }
