"""The rate stays as it is."""

from typing import ClassVar, Literal

from core.settings.bases import ScheduleConfig


class Constant(ScheduleConfig):
    """Stays at the full rate; with a warm-up, once it is over."""

    label: ClassVar[str] = "Constant"
    programs_call_it: ClassVar[tuple[str, ...]] = ("constant", "constant_with_warmup", "CONSTANT")
    stays: ClassVar[bool] = True

    name: Literal["constant"] = "constant"

    def after_warmup(self, step: int, total: int, warmup: int) -> float:
        return 1.0
