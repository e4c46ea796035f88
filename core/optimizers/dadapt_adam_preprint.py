"""Adam with D-Adaptation as it first was, from dadaptation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._adaptive_rate import check_growth, first_d, growth_rate
from core.optimizers._d_adaptation import DAdaptation, limit
from core.optimizers._settings import adams_betas, check_betas, decoupled_decay, epsilon, weight_decay


class DAdaptAdamPreprint(DAdaptation):
    """D-Adaptation Adam of the library's first two versions; what kohya calls DAdaptation. Set the rates to 1."""

    label: ClassVar[str] = "D-Adaptation Adam (preprint)"
    programs_call_it: ClassVar[tuple[str, ...]] = ("DAdaptation", "DAdaptAdamPreprint")
    state_bytes_per_weight: ClassVar[float] = 12.0
    theirs: ClassVar[str] = "dadaptation.experimental.DAdaptAdamPreprint"

    name: Literal["dadapt_adam_preprint"] = "dadapt_adam_preprint"
    d0: float = first_d()
    growth_rate: float = growth_rate()
    betas: list[float] = adams_betas()
    weight_decay: float = weight_decay()
    decouple: bool = decoupled_decay(False)
    eps: float = epsilon()

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)
        yield from check_growth(self.growth_rate)

    def arguments(self) -> dict[str, Any]:
        return {
            "d": self.d0,
            "growth_rate": limit(self.growth_rate),
            "betas": tuple(self.betas),
            "weight_decay": self.weight_decay,
            "decouple": self.decouple,
            "eps": self.eps,
        }
