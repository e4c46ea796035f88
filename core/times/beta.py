"""One end, both ends, or some times between them more often: the beta distribution."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from core.settings import setting
from core.settings.bases import TimesConfig
from core.settings.bases.times import inverted

_TINY = 1e-300


class Beta(TimesConfig):
    """The beta distribution: the density is proportional to t^(alpha - 1) (1 - t)^(beta - 1).

    OneTrainer's BETA, which takes alpha from its noising_weight and beta from its noising_bias.
    """

    label: ClassVar[str] = "Beta"

    name: Literal["beta"] = "beta"
    alpha: float = setting(
        0.8,
        "Alpha",
        "Below 1: clean times more often; above 1: hardly ever.",
        ge=0.01,
        le=100,
        also=("noising_weight",),
    )
    beta: float = setting(
        1.0,
        "Beta",
        "Below 1: noisy times more often; above 1: hardly ever. With both at 1 all are even.",
        ge=0.01,
        le=100,
        also=("noising_bias",),
    )

    def quantile(self, share: float) -> float:
        if self.beta == 1:
            return share ** (1 / self.alpha)
        if self.alpha == 1:
            return 1 - (1 - share) ** (1 / self.beta)
        return inverted(self.share_below, share)

    def share_below(self, time: float) -> float:
        return incomplete_beta(self.alpha, self.beta, time)


def incomplete_beta(alpha: float, beta: float, x: float) -> float:
    """The regularised incomplete beta function I_x(alpha, beta), for x from 0 to 1 (DLMF 8.17.22 and 8.17.4)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (alpha + 1) / (alpha + beta + 2):  # the fraction converges fast only below this
        return 1 - incomplete_beta(beta, alpha, 1 - x)
    logarithm = math.lgamma(alpha + beta) - math.lgamma(alpha) - math.lgamma(beta)
    front = math.exp(logarithm + alpha * math.log(x) + beta * math.log1p(-x)) / alpha
    return front / _continued_fraction(alpha, beta, x)


def _continued_fraction(alpha: float, beta: float, x: float) -> float:
    """1 + d1 x / (1 + d2 x / (1 + ...)), by Lentz's method."""
    value, c, d = 1.0, 1.0, 0.0
    for index in range(1, 1000):
        half = index // 2
        if index % 2:
            top = -(alpha + half) * (alpha + beta + half) / ((alpha + 2 * half) * (alpha + 2 * half + 1))
        else:
            top = half * (beta - half) / ((alpha + 2 * half - 1) * (alpha + 2 * half))
        d = 1 / _not_zero(1 + top * x * d)
        c = _not_zero(1 + top * x / c)
        value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
