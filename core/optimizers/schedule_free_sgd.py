"""Schedule-free SGD, from schedulefree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.optimizers._schedule_free import ScheduleFree, averaging_power, keeping_weights, own_warmup, weight_lr_power
from core.optimizers._settings import weight_decay
from core.optimizers._zero_rates import leaving_out_zero_rates
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class SGDScheduleFree(ScheduleFree):
    """SGD that averages its weights and so needs no schedule: set that to constant.

    The Road Less Scheduled, Defazio et al. 2024, algorithm 1.
    """

    label: ClassVar[str] = "Schedule-free SGD"
    programs_call_it: ClassVar[tuple[str, ...]] = ("SGDScheduleFree", "SCHEDULE_FREE_SGD")
    state_bytes_per_weight: ClassVar[float] = 4.0
    sensible_rates: ClassVar[tuple[float, float]] = (0.0, 100.0)
    usual_rate: ClassVar[float] = 0.01

    name: Literal["schedule_free_sgd"] = "schedule_free_sgd"
    momentum: float = setting(
        0.9,
        "Momentum",
        "How near to the average gradients are taken; 1 is at the average itself.",
        gt=0,
        lt=1,
        level="advanced",
    )
    warmup_steps: int = own_warmup()
    weight_decay: float = weight_decay()
    r: float = averaging_power()
    weight_lr_power: float = weight_lr_power()

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from schedulefree import SGDScheduleFree

        optimizer = keeping_weights(leaving_out_zero_rates(SGDScheduleFree))(
            groups,
            momentum=self.momentum,
            warmup_steps=self.warmup_steps,
            weight_decay=self.weight_decay,
            r=self.r,
            weight_lr_power=self.weight_lr_power,
        )
        optimizer.train()
        return optimizer
