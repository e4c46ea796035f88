"""The base class of time distributions: which noise levels are trained how often."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import ClassVar, Literal

from core.errors import Problem
from core.settings.setting import Settings, setting

SCALE = 1000
"""`first` and `end` count in these parts, as diffusion models have so many times."""

PATCH = 2
"""Latent pixels along each side of a token, as in SD 3, Flux and their kin."""

_FLUX_MU = ((256, 0.5), (4096, 1.15))  # tokens, and the logarithm of the shift for so many


class TimesConfig(Settings):
    """Which noise levels are trained how often: a distribution over the times from `first` to `end`.

    Time 0 is the clean picture, 1 noise alone. A distribution is its quantile function, in plain Python: a draw is the
    quantile of a number drawn evenly from 0 to 1, so that it can be stratified, and plotted without torch.
    """

    label: ClassVar[str]

    name: str
    first: int = setting(
        0,
        "First time",
        "The least noisy time that is trained, of 1000.",
        ge=0,
        lt=SCALE,
        level="advanced",
        also=("min_timestep", "min_noising_strength"),
    )
    end: int = setting(
        SCALE,
        "End before",
        "Times are drawn below this; 1000 is noise alone. The distribution is squeezed between the two.",
        gt=0,
        le=SCALE,
        level="advanced",
        also=("max_timestep", "max_noising_strength"),
    )
    shift: float = setting(
        1.0,
        "Shift",
        "Above 1: noisier times more often, for large pictures; below 1: cleaner ones. s t / (1 + (s - 1) t).",
        gt=0,
        le=1000,
        level="advanced",
        also=("discrete_flow_shift", "timestep_shift", "training_shift"),
    )
    dynamic_shift: Literal["off", "flux", "resolution"] = setting(
        "off",
        "Shift by resolution",
        "Shifts each picture by its size, and by the shift above. flux: as Flux was trained, 1.65 at 256 px, 3.16 at "
        "1024 px. resolution: SD 3's rule, twice as much for twice the side.",
        level="advanced",
        also=("flux_shift", "timestep_sampling", "dynamic_timestep_shifting"),
    )
    base_tokens: int = setting(
        256,
        "Tokens without shift",
        "Pictures with so many latent tokens aren't shifted: 256 px has 256 tokens, 512 px 1024, 1024 px 4096.",
        ge=1,
        le=1_000_000,
        level="advanced",
        shown_if={"dynamic_shift": ["resolution"]},
    )
    strata: int = setting(
        1,
        "Strata",
        "Of so many pictures shown, each draws from another part of the distribution, so that chance leaves no gaps. "
        "1: every draw is free.",
        ge=1,
        le=10_000,
        level="advanced",
        also=("num_timestep_buckets",),
    )

    def check(self) -> Iterator[Problem]:
        if self.first >= self.end:
            yield Problem("end", f"must be greater than the first time ({self.first})")

    def quantile(self, share: float) -> float:
        """The time, 0 to 1, that a share (0 to 1) of all draws lies below, before shifts and bounds; never falling."""
        raise NotImplementedError

    def share_below(self, time: float) -> float:
        """The share of draws below a time, both 0 to 1: the inverse of `quantile`."""
        return inverted(self.quantile, time)

    def shift_for(self, height: int, width: int) -> float:
        """The whole shift for latents of this size in latent pixels."""
        tokens = max(1, height // PATCH) * max(1, width // PATCH)
        if self.dynamic_shift == "flux":
            return self.shift * flux_shift(tokens)
        if self.dynamic_shift == "resolution":
            return self.shift * math.sqrt(tokens / self.base_tokens)
        return self.shift

    def fraction(self, share: float, height: int, width: int) -> float:
        """How far, 0 to 1, a draw lies between `first` and `end`. share: drawn evenly from 0 to 1."""
        return shifted(self.quantile(share), self.shift_for(height, width))


def shifted(time: float, shift: float) -> float:
    """A time, 0 to 1, moved towards noise (Esser et al. 2024, equation 23)."""
    return shift * time / (1 + (shift - 1) * time)


def flux_shift(tokens: int) -> float:
    """Flux's shift for a picture of so many latent tokens: e to a power that is linear in them (flux, sampling.py)."""
    (few, low), (many, high) = _FLUX_MU
    return math.exp(low + (high - low) * (tokens - few) / (many - few))


def density(times: TimesConfig, height: int, width: int, bins: int) -> list[float]:
    """How often times are drawn, from 0 to 1 in equal parts, for latents of this size; 1 everywhere is even.

    height, width: in latent pixels, which only shifts by resolution look at.
    """
    back = 1 / times.shift_for(height, width)
    below = []
    for edge in range(bins + 1):
        fraction = (edge / bins * SCALE - times.first) / (times.end - times.first)
        below.append(times.share_below(shifted(min(1.0, max(0.0, fraction)), back)))
    below[0], below[-1] = 0.0, 1.0
    return [(after - before) * bins for before, after in pairwise(below)]


def inverted(function: Callable[[float], float], value: float) -> float:
    """Where, from 0 to 1, a function that never falls reaches a value; by halving."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if function(middle) < value:
            low = middle
        else:
            high = middle
    return high
