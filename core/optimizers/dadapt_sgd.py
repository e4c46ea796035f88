"""SGD with D-Adaptation, from dadaptation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._adaptive_rate import check_growth, first_d, growth_rate
from core.optimizers._d_adaptation import DAdaptation, limit
from core.optimizers._settings import momentum, weight_decay


class DAdaptSGD(DAdaptation):
    """SGD that finds the learning rate by itself: set the rates to 1.

    Learning-Rate-Free Learning by D-Adaptation, Defazio and Mishchenko 2023, algorithm 4. Its rates are told as those
    of gradients as long as the first ones, by whose length it divides.
    """

    label: ClassVar[str] = "D-Adaptation SGD"
    programs_call_it: ClassVar[tuple[str, ...]] = ("DAdaptSGD", "DADAPT_SGD")
    state_bytes_per_weight: ClassVar[float] = 12.0
    theirs: ClassVar[str] = "dadaptation.DAdaptSGD"

    name: Literal["dadapt_sgd"] = "dadapt_sgd"
    d0: float = first_d()
    growth_rate: float = growth_rate()
    momentum: float = momentum()
    weight_decay: float = weight_decay()

    def check(self) -> Iterator[Problem]:
        yield from check_growth(self.growth_rate)

    def arguments(self) -> dict[str, Any]:
        return {
            "d": self.d0,
            "growth_rate": limit(self.growth_rate),
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
        }
