"""SGD, torch's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._settings import momentum, weight_decay
from core.optimizers._torch import in_one_kernel
from core.settings import setting
from core.settings.bases import OptimizerConfig

if TYPE_CHECKING:
    from torch.optim import Optimizer


class SGD(OptimizerConfig):
    """Follows the gradient as it is, at a rate that has to be found for each task; without momentum it has no state."""

    label: ClassVar[str] = "SGD"
    programs_call_it: ClassVar[tuple[str, ...]] = ("SGD", "SGDNesterov")
    state_bytes_per_weight: ClassVar[float] = 0.0
    fused_backward: ClassVar[bool] = True
    sensible_rates: ClassVar[tuple[float, float]] = (0.0, 100.0)
    usual_rate: ClassVar[float] = 0.1

    name: Literal["sgd"] = "sgd"
    momentum: float = momentum()
    dampening: float = setting(
        0.0, "Dampening", "How much less a fresh gradient counts in the remembered one.", ge=0, le=1, level="advanced"
    )
    nesterov: bool = setting(
        False, "Nesterov momentum", "Steps as if the remembered gradient had been followed already.", level="advanced"
    )
    weight_decay: float = weight_decay()

    def check(self) -> Iterator[Problem]:
        if self.nesterov and not self.momentum:
            yield Problem("nesterov", "needs momentum; 0.9 is usual", {"momentum": 0.9})
        if self.nesterov and self.dampening:
            yield Problem("dampening", "doesn't go with Nesterov momentum", {"dampening": 0.0})
        if self.dampening and not self.momentum:
            yield Problem("dampening", "has no effect without momentum", {"dampening": 0.0})

    def state_bytes(self) -> float:
        return 4.0 if self.momentum else 0.0

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from torch.optim import SGD

        return SGD(
            groups,
            momentum=self.momentum,
            dampening=self.dampening,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            fused=in_one_kernel(groups),
        )
