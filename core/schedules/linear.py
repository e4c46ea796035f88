"""The rate falls along a straight line."""

from typing import ClassVar, Literal

from core.schedules._minimum import Falling


class Linear(Falling):
    """Falls evenly from the full rate to the minimum: 1 - x."""

    label: ClassVar[str] = "Linear"
    programs_call_it: ClassVar[tuple[str, ...]] = ("linear", "LINEAR")

    name: Literal["linear"] = "linear"

    def shape(self, step: int, total: int) -> float:
        return max(0, total - step) / total
