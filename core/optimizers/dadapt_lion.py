"""Lion with D-Adaptation, from dadaptation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._adaptive_rate import first_d
from core.optimizers._d_adaptation import DAdaptation
from core.optimizers._settings import adams_betas, check_betas, weight_decay


class DAdaptLion(DAdaptation):
    """Lion that finds the learning rate by itself: set the rates to 1. The library calls it experimental."""

    label: ClassVar[str] = "D-Adaptation Lion"
    programs_call_it: ClassVar[tuple[str, ...]] = ("DAdaptLion", "DADAPT_LION")
    state_bytes_per_weight: ClassVar[float] = 8.0
    theirs: ClassVar[str] = "dadaptation.DAdaptLion"

    name: Literal["dadapt_lion"] = "dadapt_lion"
    d0: float = first_d()
    betas: list[float] = adams_betas((0.9, 0.99))
    weight_decay: float = weight_decay()

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)

    def arguments(self) -> dict[str, Any]:
        return {"d": self.d0, "betas": tuple(self.betas), "weight_decay": self.weight_decay}
