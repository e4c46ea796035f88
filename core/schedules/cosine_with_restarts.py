"""The rate falls along half a cosine several times, and jumps back between."""

import math
from typing import ClassVar, Literal

from core.schedules._restarts import Restarting


class CosineWithRestarts(Restarting):
    """A cosine in each of several cycles, and a jump back to the full rate: (1 + cos(pi (cycles x mod 1))) / 2.

    SGDR, Loshchilov and Hutter 2017, equation 5. kohya and diffusers call it `cosine_with_restarts`, OneTrainer
    COSINE_WITH_HARD_RESTARTS; what OneTrainer calls COSINE_WITH_RESTARTS is `cosine_with_soft_restarts`.
    """

    label: ClassVar[str] = "Cosine with restarts (hard)"
    programs_call_it: ClassVar[tuple[str, ...]] = (
        "cosine_with_restarts",
        "COSINE_WITH_HARD_RESTARTS",
        "CosineAnnealingWarmRestarts",
    )

    name: Literal["cosine_with_restarts"] = "cosine_with_restarts"

    def shape(self, done: float) -> float:
        return (1 + math.cos(math.pi * done)) / 2
