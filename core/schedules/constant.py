"""The rate stays as it is."""

from typing import ClassVar, Literal

from core.settings.bases import ScheduleConfig


class Constant(ScheduleConfig):
    """Stays at the full rate; with a warm-up, once it is over."""

    label: ClassVar[str] = "Constant"

    name: Literal["constant"] = "constant"

    def after_warmup(self, step: int, total: int) -> float:
        return 1.0
