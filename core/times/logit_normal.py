"""The middle times most often, the ends hardly ever."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import ClassVar, Literal

from core.settings import setting
from core.settings.bases import TimesConfig

_NORMAL = NormalDist()


class LogitNormal(TimesConfig):
    """Middle times most often: the sigmoid of a normal draw.

    Esser et al. 2024, equation 19. It is kohya's `sigmoid`, whose sigmoid_scale is the spread, and with a shift its
    `shift` and `flux_shift`; OneTrainer's spread is its noising_weight + 1.
    """

    label: ClassVar[str] = "Logit-normal"

    name: Literal["logit_normal"] = "logit_normal"
    mean: float = setting(
        0.0,
        "Mean",
        "Below 0: cleaner times more often, above 0: noisier ones.",
        ge=-10,
        le=10,
        also=("logit_mean", "noising_bias"),
    )
    std: float = setting(
        1.0,
        "Spread",
        "Standard deviation: smaller keeps to the middle, larger reaches the ends.",
        gt=0,
        le=10,
        also=("logit_std", "sigmoid_scale", "noising_weight"),
    )

    def quantile(self, share: float) -> float:
        if share <= 0 or share >= 1:
            return 0.0 if share <= 0 else 1.0
        return 1 / (1 + math.exp(-(self.mean + self.std * _NORMAL.inv_cdf(share))))

    def share_below(self, time: float) -> float:
        if time <= 0 or time >= 1:
            return 0.0 if time <= 0 else 1.0
        return _NORMAL.cdf((math.log(time / (1 - time)) - self.mean) / self.std)
