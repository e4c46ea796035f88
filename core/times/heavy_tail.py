"""The middle times, or the ends, more often than the rest."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from core.settings import setting
from core.settings.bases import TimesConfig


class HeavyTail(TimesConfig):
    """The middle times more often, without ever leaving the ends out: "mode sampling with heavy tails".

    Esser et al. 2024, equation 20: t = 1 - u - s (cos^2(pi u / 2) - 1 + u). This never rises with u for a scale from -1
    to 2 / (pi - 2), so that with 1 - u for u it is a quantile function.
    """

    label: ClassVar[str] = "Mode with heavy tails"

    name: Literal["heavy_tail"] = "heavy_tail"
    scale: float = setting(
        1.29,
        "Scale",
        "Above 0: the middle more often; below 0: the ends; 0 is even. From -1 to 1.75.",
        ge=-1,
        le=1.75,
        also=("mode_scale", "noising_weight"),
    )

    def quantile(self, share: float) -> float:
        return share - self.scale * (math.sin(math.pi / 2 * share) ** 2 - share)
