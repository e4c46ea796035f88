"""Distributions of times: never falling, whole, drawn as the libraries draw them, and refused where they are empty."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from diffusers.training_utils import compute_density_for_timestep_sampling

from core.registry import registry
from core.settings.bases import TimesConfig, density
from core.settings.checks import load, validate

NAMES = registry("times").names()
SHARES = [step / 500 for step in range(501)]


def variants() -> list[TimesConfig]:
    """Each distribution as it is, and at the ends of what can be set."""
    made = [registry("times").get(name)() for name in NAMES]
    for name, own in (
        ("beta", {"alpha": 0.01, "beta": 0.01}),
        ("beta", {"alpha": 100.0, "beta": 100.0}),
        ("beta", {"alpha": 100.0, "beta": 0.01}),
        ("sigmoid", {"weight": 100.0, "bias": 1.0}),
        ("sigmoid", {"weight": -100.0, "bias": 1.0}),
        ("sigmoid", {"weight": 100.0, "bias": -1.0}),
        ("sigmoid", {"weight": 0.0}),
        ("logit_normal", {"mean": 10.0, "std": 10.0}),
        ("heavy_tail", {"scale": -1.0}),
        ("heavy_tail", {"scale": 1.75}),
        ("inverted_parabola", {"weight": 1000.0, "bias": 0.5}),
        ("inverted_parabola", {"weight": -100.0, "bias": -1.0}),
        ("inverted_parabola", {"weight": 0.0}),
    ):
        made.append(registry("times").get(name)(**own))
    return made


@pytest.mark.parametrize("times", variants(), ids=str)
def test_a_quantile_function_never_falls_and_stays_within_bounds(times: TimesConfig) -> None:
    assert not list(times.check())
    quantiles = [times.quantile(share) for share in SHARES]
    assert all(0 <= time <= 1 for time in quantiles)
    assert all(after >= before - 1e-12 for before, after in pairwise(quantiles))


@pytest.mark.parametrize("times", variants(), ids=str)
def test_what_is_below_a_quantile_is_its_share(times: TimesConfig) -> None:
    for share in SHARES[1:-1]:
        time = times.quantile(share)
        if 1e-9 < time < 1 - 1e-9:  # nearer to the ends the numbers are too close together
            assert times.share_below(time) == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize("times", variants(), ids=str)
def test_a_density_is_whole(times: TimesConfig) -> None:
    bars = density(times, 64, 64, 40)
    assert len(bars) == 40 and all(bar >= -1e-9 for bar in bars)
    assert sum(bars) / 40 == pytest.approx(1)


def test_a_density_is_nothing_where_nothing_is_trained() -> None:
    bars = density(registry("times").get("uniform")(first=250, end=500), 64, 64, 8)
    assert bars == pytest.approx([0, 0, 4, 4, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("scheme", "name", "own"),
    [
        ("logit_normal", "logit_normal", {"mean": 0.5, "std": 1.5}),
        ("mode", "heavy_tail", {"scale": 1.29}),
        ("none", "uniform", {}),
    ],
)
def test_draws_are_those_of_diffusers(scheme: str, name: str, own: dict[str, float]) -> None:
    """Kolmogorov and Smirnov's distance between what lies below each of their draws, and the even distribution."""
    theirs = compute_density_for_timestep_sampling(
        scheme, 4000, own.get("mean"), own.get("std"), own.get("scale"), generator=torch.Generator().manual_seed(0)
    )
    times = registry("times").get(name)(**own)
    below = sorted(times.share_below(float(time)) for time in theirs)
    distance = max(abs(share - (place + 0.5) / len(below)) for place, share in enumerate(below))
    assert distance < 1.95 / math.sqrt(len(below))


@pytest.mark.parametrize("name", NAMES)
def test_times_that_are_in_the_wrong_order_are_a_problem(name: str) -> None:
    settings, problems = validate(registry("times").get(name), {"name": name, "first": 700, "end": 700})
    assert settings and [problem.path for problem in problems] == ["end"]


def test_a_parabola_that_is_nowhere_above_0_is_a_problem() -> None:
    cls = registry("times").get("inverted_parabola")
    _, (problem,) = validate(cls, {"name": "inverted_parabola", "weight": 100.0, "bias": 1.0})
    assert problem.path == "bias" and "no time is left" in problem.message
    load(cls, {"name": "inverted_parabola", "weight": 3.0, "bias": 1.0})


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("heavy_tail", {"scale": 2.0}),  # beyond it the same time would be drawn from several shares
        ("heavy_tail", {"scale": -1.1}),
        ("beta", {"alpha": 0.0}),
        ("logit_normal", {"std": 0.0}),
        ("uniform", {"shift": 0.0}),
        ("uniform", {"strata": 0}),
    ],
)
def test_what_makes_no_distribution_is_a_problem(name: str, own: dict[str, float]) -> None:
    settings, problems = validate(registry("times").get(name), {"name": name, **own})
    assert settings is None and [problem.path for problem in problems] == list(own)
