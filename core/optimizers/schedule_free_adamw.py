"""Schedule-free AdamW, from schedulefree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._schedule_free import (
    ScheduleFree,
    averaging_power,
    check_interpolation,
    keeping_weights,
    own_warmup,
    weight_lr_power,
)
from core.optimizers._settings import adams_betas, check_betas, epsilon, weight_decay
from core.optimizers._zero_rates import leaving_out_zero_rates

if TYPE_CHECKING:
    from torch.optim import Optimizer


class AdamWScheduleFree(ScheduleFree):
    """AdamW that averages its weights and so needs no schedule: set that to constant. Up to ten times AdamW's rate.

    The Road Less Scheduled, Defazio et al. 2024, algorithm 1.
    """

    label: ClassVar[str] = "Schedule-free AdamW"
    programs_call_it: ClassVar[tuple[str, ...]] = ("AdamWScheduleFree", "SCHEDULE_FREE_ADAMW")
    state_bytes_per_weight: ClassVar[float] = 8.0

    usual_rate: ClassVar[float] = 0.0005

    name: Literal["schedule_free_adamw"] = "schedule_free_adamw"
    betas: list[float] = adams_betas()
    warmup_steps: int = own_warmup()
    weight_decay: float = weight_decay()
    eps: float = epsilon()
    r: float = averaging_power()
    weight_lr_power: float = weight_lr_power()

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)
        yield from check_interpolation("betas.0", self.betas[0])

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from schedulefree import AdamWScheduleFree

        optimizer = keeping_weights(leaving_out_zero_rates(AdamWScheduleFree))(
            groups,
            betas=(self.betas[0], self.betas[1]),
            warmup_steps=self.warmup_steps,
            weight_decay=self.weight_decay,
            eps=self.eps,
            r=self.r,
            weight_lr_power=self.weight_lr_power,
        )
        optimizer.train()
        return optimizer
