"""The rate falls along half a cosine."""

import math
from typing import ClassVar, Literal

from core.schedules._minimum import Falling


class Cosine(Falling):
    """Falls slowly at first, fast in the middle, slowly at the end: (1 + cos(pi x)) / 2.

    SGDR, Loshchilov and Hutter 2017, equation 5, with one cycle; kohya's and diffusers' `cosine`, and transformers'
    `cosine_with_min_lr`. OneTrainer's COSINE takes cos(pi x / 2) there, and ends at half the rate.
    """

    label: ClassVar[str] = "Cosine"
    programs_call_it: ClassVar[tuple[str, ...]] = ("cosine", "cosine_with_min_lr", "COSINE", "CosineAnnealingLR")

    name: Literal["cosine"] = "cosine"

    def shape(self, step: int, total: int) -> float:
        return (1 + math.cos(math.pi * min(1.0, step / total))) / 2
