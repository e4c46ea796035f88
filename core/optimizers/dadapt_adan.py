"""Adan with D-Adaptation, from dadaptation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._adaptive_rate import check_growth, first_d, growth_rate
from core.optimizers._d_adaptation import DAdaptation, adans_betas, decay_before_step, limit
from core.optimizers._settings import check_betas, epsilon, weight_decay


class DAdaptAdan(DAdaptation):
    """Adan, which looks at how gradients change, and finds the learning rate by itself. Set the rates to 1.

    Adan: Adaptive Nesterov Momentum Algorithm, Xie et al. 2022; the library calls its D-Adaptation experimental.
    """

    label: ClassVar[str] = "D-Adaptation Adan"
    programs_call_it: ClassVar[tuple[str, ...]] = ("DAdaptAdan", "DADAPT_ADAN")
    state_bytes_per_weight: ClassVar[float] = 20.0
    theirs: ClassVar[str] = "dadaptation.DAdaptAdan"

    name: Literal["dadapt_adan"] = "dadapt_adan"
    d0: float = first_d()
    growth_rate: float = growth_rate()
    betas: list[float] = adans_betas()
    weight_decay: float = weight_decay(0.02)
    no_prox: bool = decay_before_step()
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
            "no_prox": self.no_prox,
            "eps": self.eps,
        }
