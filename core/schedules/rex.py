"""The rate stays high for long, and falls fast at the end."""

from typing import ClassVar, Literal

from core.schedules._minimum import Falling
from core.schedules._rex import BEND, reflected


class Rex(Falling):
    """Falls slowly at first and ever faster: (1 - x) / (1 - d x).

    REX, Chen et al. 2021, arXiv 2107.04197, with d = 0.5. OneTrainer, kohya's forks and most others take d = 0.9.
    """

    label: ClassVar[str] = "REX"
    programs_call_it: ClassVar[tuple[str, ...]] = ("rex", "REX", "REXScheduler")

    name: Literal["rex"] = "rex"
    d: float = BEND

    def shape(self, step: int, total: int) -> float:
        return reflected(min(1.0, step / total), self.d)
