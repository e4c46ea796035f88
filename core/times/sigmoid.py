"""Ever more often from one end to the other, along a sigmoid."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from core.settings import setting
from core.settings.bases import TimesConfig


class Sigmoid(TimesConfig):
    """The frequency itself rises along a sigmoid: 1 / (1 + e^(-weight (t - 0.5 - bias))).

    OneTrainer's SIGMOID (which shifts it twice where it is shifted; here once). kohya's `sigmoid` is the logit-normal
    distribution.
    """

    label: ClassVar[str] = "Sigmoid"

    name: Literal["sigmoid"] = "sigmoid"
    weight: float = setting(
        5.0,
        "Steepness",
        "Above 0: noisy times more often, below 0: clean ones; 0 is even.",
        ge=-100,
        le=100,
        also=("noising_weight",),
    )
    bias: float = setting(
        0.0,
        "Offset of the middle",
        "Where the frequency is half of its highest: 0 is the middle time, 0.5 noise alone.",
        ge=-1,
        le=1,
        also=("noising_bias",),
    )

    def quantile(self, share: float) -> float:
        if self.weight == 0:
            return share
        low, high = self._area(0), self._area(1)
        # The area under a sigmoid is ln(1 + e^z); its inverse is ln(e^y - 1).
        return min(1.0, max(0.0, self._centre + _log_expm1(low + share * (high - low)) / self.weight))

    def share_below(self, time: float) -> float:
        if self.weight == 0:
            return time
        return (self._area(time) - self._area(0)) / (self._area(1) - self._area(0))

    @property
    def _centre(self) -> float:
        return 0.5 + self.bias

    def _area(self, time: float) -> float:
        """`weight` times the area below a time, but for a constant."""
        exponent = self.weight * (time - self._centre)
        return max(exponent, 0.0) + math.log1p(math.exp(-abs(exponent)))


def _log_expm1(value: float) -> float:
    return value + math.log(-math.expm1(-value))
