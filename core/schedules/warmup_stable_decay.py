"""The rate stays at its full value, and falls at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, Literal

from core.errors import Problem
from core.schedules._minimum import Falling
from core.settings import setting
from core.settings.bases.schedule import RunLength

Shape = Literal["cosine", "linear", "1-sqrt"]
_SHAPES: Mapping[Shape, Callable[[float], float]] = {
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "linear": lambda done: 1 - done,
    "1-sqrt": lambda done: 1 - math.sqrt(done),
}


class WarmupStableDecay(Falling):
    """Warms up, stays at the full rate, and falls in the last part of the run.

    MiniCPM, Hu et al. 2024, section 4; transformers' `warmup_stable_decay`. `1-sqrt` is Hägele et al. 2024, equation 2.
    """

    label: ClassVar[str] = "Warm-up, stable, decay"
    programs_call_it: ClassVar[tuple[str, ...]] = ("warmup_stable_decay", "wsd")

    name: Literal["warmup_stable_decay"] = "warmup_stable_decay"
    decay_fraction: float = setting(
        0.2,
        "Decay fraction",
        "Last part of the run in which the rate falls, as a fraction of all steps.",
        ge=0,
        le=1,
        shown_if={"decay_steps": [0]},
    )
    decay_steps: int = setting(
        0,
        "Decay steps",
        "The same in steps. 0: the fraction counts.",
        ge=0,
        unit="steps",
        level="advanced",
        also=("lr_decay_steps",),
    )
    decay_shape: Shape = setting(
        "linear", "Shape", "How it falls: 1-sqrt falls fastest at first.", also=("decay_type",)
    )

    def check_length(self, length: RunLength) -> Iterator[Problem]:
        yield from super().check_length(length)
        warmup, decay = self.warmup(length.steps), self.decay(length.steps)
        if warmup < length.steps < warmup + decay:
            name = "decay_steps" if self.decay_steps else "decay_fraction"
            left = length.steps - warmup
            message = f"a warm-up of {warmup} and a decay of {decay} don't fit into {length.steps} steps"
            yield Problem(
                name, message, {name: left if self.decay_steps else math.floor(1e4 * left / length.steps) / 1e4}
            )

    def decay(self, total: int) -> int:
        """Steps of the decay in a run of `total` steps."""
        return self.decay_steps or round(self.decay_fraction * total)

    def after_warmup(self, step: int, total: int, warmup: int) -> float:
        decay = min(self.decay(total + warmup), total)
        before = total - decay
        if step < before:
            return 1.0
        done = min(1.0, (step - before) / decay) if decay else 1.0
        return self.minimum + (1 - self.minimum) * _SHAPES[self.decay_shape](done)
