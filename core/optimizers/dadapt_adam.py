"""Adam with D-Adaptation, from dadaptation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._adaptive_rate import check_growth, corrected, first_d, growth_rate
from core.optimizers._d_adaptation import DAdaptation, limit
from core.optimizers._settings import adams_betas, bias_correction, check_betas, decoupled_decay, epsilon, weight_decay

if TYPE_CHECKING:
    from torch.optim import Optimizer


class DAdaptAdam(DAdaptation):
    """Adam that finds the learning rate by itself: set the rates to 1. Prodigy came after it, and learns faster.

    Learning-Rate-Free Learning by D-Adaptation, Defazio and Mishchenko 2023, algorithm 5, with the later estimate.
    """

    label: ClassVar[str] = "D-Adaptation Adam"
    programs_call_it: ClassVar[tuple[str, ...]] = ("DAdaptAdam", "DADAPT_ADAM")
    state_bytes_per_weight: ClassVar[float] = 12.0
    theirs: ClassVar[str] = "dadaptation.DAdaptAdam"

    name: Literal["dadapt_adam"] = "dadapt_adam"
    d0: float = first_d()
    growth_rate: float = growth_rate()
    use_bias_correction: bool = bias_correction()
    betas: list[float] = adams_betas()
    weight_decay: float = weight_decay()
    decouple: bool = decoupled_decay(False)
    eps: float = epsilon()

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)
        yield from check_growth(self.growth_rate)

    def effective_rate(self, optimizer: Optimizer, group: Mapping[str, Any]) -> float:
        rate = super().effective_rate(optimizer, group)
        return rate * corrected(self.betas, group["k"]) if self.use_bias_correction else rate

    def arguments(self) -> dict[str, Any]:
        return {
            "d": self.d0,
            "growth_rate": limit(self.growth_rate),
            "use_bias_correction": self.use_bias_correction,
            "betas": tuple(self.betas),
            "weight_decay": self.weight_decay,
            "decouple": self.decouple,
            "eps": self.eps,
        }
