"""What the optimizers of the library dadaptation have in common.

Learning-Rate-Free Learning by D-Adaptation, Defazio and Mishchenko 2023.
"""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any, ClassVar

from core.optimizers._adaptive_rate import AdaptiveRate
from core.optimizers._settings import three_betas
from core.optimizers._zero_rates import leaving_out_zero_rates
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class DAdaptation(AdaptiveRate):
    """An optimizer of the library dadaptation. theirs: where its class is."""

    library: ClassVar[str] = "dadaptation"
    module: ClassVar[str] = "dadaptation"
    theirs: ClassVar[str]

    def arguments(self) -> dict[str, Any]:
        """What the library's class is given for each group."""
        raise NotImplementedError

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        module, _, name = self.theirs.rpartition(".")
        cls = leaving_out_zero_rates(getattr(importlib.import_module(module), name))
        # all goes with the groups: given as arguments, some are printed, and a group's rate of 0 is no argument
        return cls([{**self.arguments(), **group} for group in groups])


def limit(growth_rate: float) -> float:
    """The library's growth rate: it has infinity for no limit."""
    return growth_rate or math.inf


def adans_betas() -> Any:
    """The setting of Adan's three betas."""
    return three_betas((0.98, 0.92, 0.99), "How long gradients, their changes, and their squares are remembered.")


def decay_before_step() -> Any:
    """The setting of when Adan's weight decay comes."""
    return setting(
        False, "Decay before the step", "Weight decay as in AdamW; off, it comes after the step.", level="advanced"
    )
