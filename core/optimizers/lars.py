"""LARS, from pytorch_optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._collection import CollectionOptimizer
from core.optimizers._settings import momentum, weight_decay
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Lars(CollectionOptimizer):
    """SGD whose steps are as long as the tensor's weights are large: for large batches (You et al. 2017).

    OneTrainer has bitsandbytes' LARS, which never moves a tensor that begins as zeros, as half of a LoRA does, and
    whose 8-bit form has no code for GPUs any more. Here such a tensor moves as with SGD until it has a size.
    """

    label: ClassVar[str] = "LARS"
    programs_call_it: ClassVar[tuple[str, ...]] = ("LARS", "LARS_8BIT", "LARS8bit")
    state_bytes_per_weight: ClassVar[float] = 4.0
    sensible_rates: ClassVar[tuple[float, float]] = (0.0, 100.0)
    usual_rate: ClassVar[float] = 10.0

    name: Literal["lars"] = "lars"
    momentum: float = momentum(0.9)
    dampening: float = setting(
        0.0, "Dampening", "How much less a fresh gradient counts in the remembered one.", ge=0, lt=1, level="advanced"
    )
    nesterov: bool = setting(
        False, "Nesterov momentum", "Steps as if the remembered gradient had been followed already.", level="advanced"
    )
    trust_coefficient: float = setting(
        1e-3, "Trust", "How long a step is at a rate of 1, as a share of the tensor's length.", gt=0
    )
    weight_decay: float = weight_decay()

    def check(self) -> Iterator[Problem]:
        if self.nesterov and not self.momentum:
            yield Problem("nesterov", "needs momentum; 0.9 is usual", {"momentum": 0.9})
        if self.dampening and not self.momentum:
            yield Problem("dampening", "has no effect without momentum", {"dampening": 0.0})

    def state_bytes(self) -> float:
        return 4.0 if self.momentum else 0.0

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from pytorch_optimizer import LARS

        return LARS(
            groups,
            momentum=self.momentum,
            dampening=self.dampening,
            nesterov=self.nesterov,
            trust_coefficient=self.trust_coefficient,
            weight_decay=self.weight_decay,
        )
