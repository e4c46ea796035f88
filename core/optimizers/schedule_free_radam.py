"""Schedule-free RAdam, from schedulefree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._schedule_free import (
    ScheduleFree,
    averaging_power,
    check_interpolation,
    keeping_weights,
    weight_lr_power,
)
from core.optimizers._settings import adams_betas, check_betas, epsilon, weight_decay
from core.optimizers._zero_rates import leaving_out_zero_rates
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class RAdamScheduleFree(ScheduleFree):
    """As schedule-free AdamW, but begins gently by itself: needs neither schedule nor warm-up.

    The Road Less Scheduled, Defazio et al. 2024, algorithm 1.
    """

    label: ClassVar[str] = "Schedule-free RAdam"
    programs_call_it: ClassVar[tuple[str, ...]] = ("RAdamScheduleFree",)
    state_bytes_per_weight: ClassVar[float] = 8.0

    usual_rate: ClassVar[float] = 0.0005

    name: Literal["schedule_free_radam"] = "schedule_free_radam"
    betas: list[float] = adams_betas()
    weight_decay: float = weight_decay()
    eps: float = epsilon()
    silent_sgd_phase: bool = setting(
        True,
        "Silent beginning",
        "The first steps (five with the usual betas) only look at the gradients; off, they follow them as SGD does.",
        level="advanced",
    )
    r: float = averaging_power()
    weight_lr_power: float = weight_lr_power()

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)
        yield from check_interpolation("betas.0", self.betas[0])

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from schedulefree import RAdamScheduleFree

        optimizer = keeping_weights(leaving_out_zero_rates(RAdamScheduleFree))(
            groups,
            betas=(self.betas[0], self.betas[1]),
            weight_decay=self.weight_decay,
            eps=self.eps,
            silent_sgd_phase=self.silent_sgd_phase,
            r=self.r,
            weight_lr_power=self.weight_lr_power,
        )
        optimizer.train()
        return optimizer
