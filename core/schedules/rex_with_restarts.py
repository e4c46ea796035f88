"""REX several times, with jumps back between."""

from typing import ClassVar, Literal

from core.schedules._restarts import Restarting
from core.schedules._rex import BEND, reflected


class RexWithRestarts(Restarting):
    """REX in each of several cycles: stays high for long, falls fast, and jumps back.

    RexAnnealingWarmRestarts ("RAWR") of LoRA_Easy_Training_scripts; its min_lr is a rate, here the minimum is a share.
    """

    label: ClassVar[str] = "REX with restarts"
    programs_call_it: ClassVar[tuple[str, ...]] = ("RexAnnealingWarmRestarts", "RAWR", "rex_annealing_warm_restarts")

    name: Literal["rex_with_restarts"] = "rex_with_restarts"
    d: float = BEND

    def shape(self, done: float) -> float:
        return reflected(done, self.d)
