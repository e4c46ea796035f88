"""Settings and checks of optimizers that find the learning rate by themselves: Prodigy, D-Adaptation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from core.contracts import Part
from core.errors import Problem
from core.optimizers._library import LibraryOptimizer
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class AdaptiveRate(LibraryOptimizer):
    """An optimizer that finds one factor d, by which the learning rates are multiplied: these are set to 1.

    d counts for all groups. With most libraries they must have one rate, or 0: they refuse other rates, or take the
    first group's for all in silence. So neither parts of different rates nor LoRA+ or rates by pattern go with them.
    """

    sensible_rates: ClassVar[tuple[float, float]] = (0.01, 10.0)
    usual_rate: ClassVar[float] = 1.0

    def needs_one_rate(self) -> bool:
        return True

    def check_rates(self, rates: Mapping[Part, float]) -> Iterator[Problem]:
        yield from super().check_rates(rates)
        first, *others = [(part, rate) for part, rate in rates.items() if rate] or [("", 0.0)]
        for part, rate in others:
            if rate != first[1] and self.needs_one_rate():
                path = f"parts.{part}.learning_rate"
                message = f"must be the same as {first[0]}'s ({first[1]:g}): {self.label} finds one rate for all parts"
                yield Problem(path, message, {path: first[1]})

    def effective_rate(self, optimizer: Optimizer, group: Mapping[str, Any]) -> float:
        """The rate times d."""
        return float(group["lr"]) * float(group["d"])


def first_d() -> Any:
    """The setting of d at the beginning."""
    return setting(1e-6, "First D", "The rate that it begins with, before it has found one.", gt=0, level="advanced")


def growth_rate() -> Any:
    """The setting of how fast d may grow."""
    return setting(
        0.0,
        "Growth limit",
        "The rate grows by no more than this factor at a step, for example 1.02; 0 is no limit.",
        ge=0,
        level="advanced",
    )


def check_growth(growth: float) -> Iterator[Problem]:
    """A limit of 1 or less would keep the rate where it begins."""
    if 0 < growth <= 1:
        yield Problem("growth_rate", f"must be greater than 1, or 0 for no limit (it is {growth:g})")


def corrected(betas: Sequence[float], steps: int) -> float:
    """Adam's correction of the beginning as a factor of the rate, after so many steps."""
    return math.sqrt(1 - betas[1] ** steps) / (1 - betas[0] ** steps) if steps else 1.0
