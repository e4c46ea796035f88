"""A gentle hill over the middle times."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from core.settings.bases import TimesConfig


class CosMap(TimesConfig):
    """A gentle hill over the middle times, as of the cosine schedule: t = 1 - 1 / (1 + tan(pi u / 2)).

    Esser et al. 2024, equation 21; its density is 2 / (pi - 2 pi t + 2 pi t^2).
    """

    label: ClassVar[str] = "CosMap"

    name: Literal["cos_map"] = "cos_map"

    def quantile(self, share: float) -> float:
        return (1 + math.tan(math.pi / 2 * (share - 0.5))) / 2  # the same, and finite at 1

    def share_below(self, time: float) -> float:
        return 0.5 + 2 / math.pi * math.atan(2 * time - 1)
