"""Keeps weights whose rate is 0 where they are, with libraries that move them all the same.

Prodigy and D-Adaptation go on along what they remember of earlier gradients, some take the first group's rate for all,
and D-Adaptation's SGD fails when all rates are 0, as at a schedule's end. Schedule-free optimizers go on averaging.
Adafactor with momentum remembers steps, not gradients, and with a rate of its own looks at none.
"""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def leaving_out_zero_rates(cls: Any) -> Any:
    """A class that is `cls`, an optimizer's, but that takes its steps with those groups alone whose rate isn't 0."""

    class LeavingOut(cls):
        def step(self, closure: Any = None) -> Any:
            every = self.param_groups
            self.param_groups = [group for group in every if group["lr"] != 0]
            try:
                if not self.param_groups:
                    return None
                return super().step(closure) if closure is not None else super().step()
            finally:
                self.param_groups = every

    return named_as(LeavingOut, cls)


def named_as(cls: type, original: type) -> type:
    """Give a class the name of the library's, which is what a LoRA's metadata tell."""
    cls.__name__, cls.__qualname__, cls.__module__ = original.__name__, original.__qualname__, original.__module__
    return cls
