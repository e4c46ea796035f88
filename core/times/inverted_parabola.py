"""A hill over some times, that may leave others out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, Literal

from core.errors import Problem
from core.settings import setting
from core.settings.bases import TimesConfig
from core.settings.bases.times import inverted


class InvertedParabola(TimesConfig):
    """A parabola that opens downwards: 2 - weight (t - 0.5 - bias)^2, and nothing where that is below 0.

    OneTrainer's INVERTED_PARABOLA.
    """

    label: ClassVar[str] = "Inverted parabola"

    name: Literal["inverted_parabola"] = "inverted_parabola"
    weight: float = setting(
        7.7,
        "Weight",
        "Above 8 the times farthest from the top aren't trained at all; 0 is even; below 0 the ends come most often.",
        ge=-100,
        le=1000,
        also=("noising_weight",),
    )
    bias: float = setting(
        0.0,
        "Offset of the top",
        "0: the middle time is the most frequent; 0.5: noise alone.",
        ge=-1,
        le=1,
        also=("noising_bias",),
    )

    def check(self) -> Iterator[Problem]:
        yield from super().check()
        low, high = self._range()
        if low >= high:
            yield Problem("bias", f"no time is left to train with a weight of {self.weight:g}; move it nearer to 0")

    def quantile(self, share: float) -> float:
        low, high = self._range()
        return low + (high - low) * inverted(lambda place: self.share_below(low + (high - low) * place), share)

    def share_below(self, time: float) -> float:
        low, high = self._range()
        return (self._area(min(high, max(low, time))) - self._area(low)) / (self._area(high) - self._area(low))

    @property
    def _top(self) -> float:
        return 0.5 + self.bias

    def _range(self) -> tuple[float, float]:
        """The times where the parabola is above 0."""
        reach = math.sqrt(2 / self.weight) if self.weight > 0 else math.inf
        return max(0.0, self._top - reach), min(1.0, self._top + reach)

    def _area(self, time: float) -> float:
        """The area under the parabola below a time, but for a constant."""
        return 2 * time - self.weight / 3 * (time - self._top) ** 3
