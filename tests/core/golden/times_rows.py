"""Distributions of times: quantiles, and what lies below a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch

from core.registry import registry
from core.settings.bases import TimesConfig, density
from tests.core.golden.table import Row

SHARES = [0.001, 0.1, 0.3, 0.5, 0.8, 0.999]
PLACES = [0.05, 0.2, 0.5, 0.7, 0.95]
SD3 = "Esser et al. 2024"
ONETRAINER = "OneTrainer, ModelSetupNoiseMixin"


def made(name: str, **own: Any) -> TimesConfig:
    """A distribution."""
    return registry("times").get(name)(**own)


def _quantiles(name: str, row: str, source: str, formula: Callable[[float], float], **own: Any) -> Row:
    return Row(
        f"times.{name}", f"quantiles, {row}", source,
        lambda: [made(name, **own).quantile(share) for share in SHARES],
        lambda: [formula(share) for share in SHARES], rtol=1e-9, atol=1e-12,
    )  # fmt: skip


def integrated(frequency: Callable[[float], float], places: Sequence[float], parts: int = 20_000) -> list[float]:
    """The share of what is below each place, of a frequency that needn't be normed; Simpson's rule."""

    def area(end: float) -> float:
        step = end / parts
        inner = sum((4 if i % 2 else 2) * frequency(i * step) for i in range(1, parts))
        return (frequency(0) + inner + frequency(end)) * step / 3

    whole = area(1.0)
    return [area(place) / whole for place in places]


def _below(
    name: str, row: str, source: str, frequency: Callable[[float], float], atol: float = 1e-8, **own: Any
) -> list[Row]:
    """Ours against the integral of the written-out frequency; and the quantile function is the inverse of that."""
    return [
        Row(
            f"times.{name}", f"below times, {row}", source,
            lambda: [made(name, **own).share_below(place) for place in PLACES],
            lambda: integrated(frequency, PLACES), rtol=1e-6, atol=atol,
        ),
        Row(
            f"times.{name}", f"quantiles of what is below, {row}", source,
            lambda: integrated(frequency, [made(name, **own).quantile(share) for share in SHARES]),
            lambda: SHARES, rtol=1e-6, atol=max(1e-6, atol),
        ),
    ]  # fmt: skip


def _logit(time: float) -> float:
    return math.log(time / (1 - time))


def _normal_below(z: float) -> float:
    return (1 + math.erf(z / math.sqrt(2))) / 2


def _onetrainers(frequency: Callable[[torch.Tensor], torch.Tensor]) -> list[float]:
    """What lies below the places where times are drawn from 1000 with these weights."""
    weights = frequency(torch.linspace(0, 1, 1000, dtype=torch.float64))
    below = weights.cumsum(0) / weights.sum()
    return [float(below[round(place * 1000) - 1]) for place in PLACES]


def _as_onetrainer(name: str, frequency: Callable[[torch.Tensor], torch.Tensor], **own: Any) -> Row:
    """Its thousand times against a continuous distribution: equal but for a thousandth."""
    return Row(
        f"times.{name}", "below times, as OneTrainer draws", ONETRAINER,
        lambda: [made(name, **own).share_below(place) for place in PLACES],
        lambda: _onetrainers(frequency), rtol=0, atol=1.5e-3,
    )  # fmt: skip


def _shift(time: float, shift: float) -> float:
    return shift * time / (1 + (shift - 1) * time)


def _fractions(name: str, size: tuple[int, int], **own: Any) -> Callable[[], list[float]]:
    return lambda: [made(name, **own).fraction(share, *size) for share in SHARES]


def _flux(time: float, height: int, width: int) -> float:
    slope = (1.15 - 0.5) / (4096 - 256)
    mu = slope * (height // 2) * (width // 2) + 0.5 - slope * 256
    return math.exp(mu) / (math.exp(mu) + (1 / time - 1))


ROWS = [
    _quantiles("uniform", "all", "Ho et al. 2020, algorithm 1", lambda share: share),
    _quantiles("cos_map", "all", f"{SD3}, equation 21", lambda u: 1 - 1 / (math.tan(math.pi / 2 * u) + 1)),
    *_below("cos_map", "all", f"{SD3}, section 3.1", lambda t: 2 / (math.pi - 2 * math.pi * t + 2 * math.pi * t * t)),
    _as_onetrainer("cos_map", lambda t: 2.0 / (math.pi - 2.0 * math.pi * t + 2.0 * math.pi * t**2)),
    *(
        _quantiles(
            "heavy_tail", f"scale {s}", f"{SD3}, equation 20, of 1 - u",
            lambda v, s=s: 1 - (1 - v) - s * (math.cos(math.pi / 2 * (1 - v)) ** 2 - 1 + (1 - v)), scale=s,
        )
        for s in (-1.0, 0.0, 0.8, 1.29, 1.75)
    ),
    *(
        Row(
            "times.logit_normal", f"below times, mean {mean}, spread {std}", f"{SD3}, equation 19",
            lambda mean=mean, std=std: [made("logit_normal", mean=mean, std=std).share_below(t) for t in PLACES],
            lambda mean=mean, std=std: [_normal_below((_logit(t) - mean) / std) for t in PLACES], rtol=1e-9,
        )
        for mean, std in ((0.0, 1.0), (-0.5, 1.4), (1.0, 0.3))
    ),
    Row(
        "times.logit_normal", "below quantiles", f"{SD3}, equation 19",
        lambda: [_normal_below(_logit(made("logit_normal", std=2.0).quantile(share)) / 2) for share in SHARES],
        lambda: SHARES, rtol=1e-9,
    ),
    *(
        row
        for weight, bias in ((5.0, 0.0), (-8.0, 0.2), (0.0, 0.0), (20.0, -0.5))
        for row in _below(
            "sigmoid", f"weight {weight}, bias {bias}", ONETRAINER,
            lambda t, w=weight, b=bias: 1 / (1 + math.exp(-w * (t - (b + 0.5)))), weight=weight, bias=bias,
        )
    ),
    _as_onetrainer("sigmoid", lambda t: 1 / (1 + torch.exp(-7 * (t - 0.6))), weight=7.0, bias=0.1),
    *(
        row
        for weight, bias in ((7.7, 0.0), (4.0, 0.3), (-3.0, 0.0))
        for row in _below(
            "inverted_parabola", f"weight {weight}, bias {bias}", ONETRAINER,
            lambda t, w=weight, b=bias: max(0.0, -w * (t - (b + 0.5)) ** 2 + 2), weight=weight, bias=bias,
        )
    ),
    *_below(
        "inverted_parabola", "nothing at the ends", ONETRAINER,
        lambda t: max(0.0, -30 * (t - 0.4) ** 2 + 2), atol=1e-7, weight=30.0, bias=-0.1,
    ),
    _as_onetrainer(
        "inverted_parabola", lambda t: torch.clamp(-12.0 * ((t - 0.55) ** 2) + 2, min=0.0), weight=12.0, bias=0.05
    ),
    *(
        row
        for a, b in ((2.0, 2.0), (3.0, 5.0), (1.5, 4.0), (30.0, 8.0))
        for row in _below(
            "beta", f"alpha {a}, beta {b}", "its density",
            lambda t, a=a, b=b: t ** (a - 1) * (1 - t) ** (b - 1), atol=1e-5 if a < 2 else 1e-8, alpha=a, beta=b,
        )
    ),
    Row(
        "times.beta", "below times, alpha and beta 0.5", "the arcsine law",
        lambda: [made("beta", alpha=0.5, beta=0.5).share_below(t) for t in PLACES],
        lambda: [2 / math.pi * math.asin(math.sqrt(t)) for t in PLACES], rtol=1e-10,
    ),
    _quantiles("beta", "both 0.5", "the arcsine law", lambda u: math.sin(math.pi * u / 2) ** 2, alpha=0.5, beta=0.5),
    _quantiles("beta", "0.7 and 1", f"{ONETRAINER}: u^(1 / alpha)", lambda u: u ** (1 / 0.7), alpha=0.7, beta=1.0),
    _quantiles("beta", "1 and 3", "its distribution function", lambda u: 1 - (1 - u) ** (1 / 3), alpha=1.0, beta=3.0),
    Row(
        "times.shift", "shift 3", f"{SD3}, equation 23",
        _fractions("uniform", (64, 64), shift=3.0), lambda: [3 * u / (1 + 2 * u) for u in SHARES],
    ),
    Row(
        "times.dynamic_shift", "flux", "kohya's trainer, flux_train_utils.py: flux_shift",
        _fractions("uniform", (128, 96), dynamic_shift="flux"), lambda: [_flux(u, 128, 96) for u in SHARES],
    ),
    Row(
        "times.dynamic_shift", "flux at 256 and 4096 tokens", "Flux: e^0.5 and e^1.15",
        lambda: [made("uniform", dynamic_shift="flux").shift_for(side, side) for side in (32, 128)],
        lambda: [math.exp(0.5), math.exp(1.15)],
    ),
    Row(
        "times.dynamic_shift", "resolution", f"{SD3}, equation 23 and before: the root of the ratio of the pixels",
        _fractions("uniform", (96, 96), dynamic_shift="resolution"),
        lambda: [_shift(u, math.sqrt((96 * 8) ** 2 / 256**2)) for u in SHARES],
    ),
    Row(
        "times.dynamic_shift", "times a shift", "two shifts after one another",
        _fractions("uniform", (64, 64), dynamic_shift="resolution", base_tokens=4096, shift=5.0),
        lambda: [_shift(_shift(u, 0.5), 5) for u in SHARES],
    ),
    Row(
        "times.density", "a shifted logit-normal distribution between two times", f"{SD3}, equations 19 and 23",
        lambda: density(made("logit_normal", first=200, end=700, shift=2.0), 64, 64, 10),
        lambda: _shifted_density(), atol=1e-9,
    ),
]  # fmt: skip


def _shifted_density() -> list[float]:
    edges = [min(1.0, max(0.0, (edge / 10 - 0.2) / 0.5)) for edge in range(11)]
    before = [time / (2 - time) for time in edges]  # undoes a shift of 2
    below = [0.0 if t <= 0 else 1.0 if t >= 1 else _normal_below(_logit(t)) for t in before]
    return [(end - begin) * 10 for begin, end in pairwise(below)]
