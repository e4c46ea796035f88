"""AdaGrad, torch's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.optimizers._settings import epsilon, weight_decay
from core.settings import setting
from core.settings.bases import OptimizerConfig

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Adagrad(OptimizerConfig):
    """Divides by the sum of all gradients so far, so that steps shrink by themselves (Duchi et al. 2011)."""

    label: ClassVar[str] = "AdaGrad"
    programs_call_it: ClassVar[tuple[str, ...]] = ("Adagrad", "ADAGRAD")
    state_bytes_per_weight: ClassVar[float] = 4.0
    fused_backward: ClassVar[bool] = True
    usual_rate: ClassVar[float] = 1e-2

    name: Literal["adagrad"] = "adagrad"
    lr_decay: float = setting(
        0.0,
        "Rate decay",
        "Divides the rate by 1 + this times the number of steps done, beside the schedule.",
        ge=0,
        level="advanced",
    )
    initial_accumulator_value: float = setting(
        0.0,
        "First sum",
        "What the sum of squares begins with; more makes the first steps smaller.",
        ge=0,
        level="advanced",
    )
    weight_decay: float = weight_decay()
    eps: float = epsilon(1e-10)

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from torch.optim import Adagrad

        optimizer = Adagrad(
            groups,
            lr_decay=self.lr_decay,
            initial_accumulator_value=self.initial_accumulator_value,
            weight_decay=self.weight_decay,
            eps=self.eps,
        )
        for state in optimizer.state.values():  # it begins before the first step, in the weights' own dtype
            state["sum"] = state["sum"].float()
        return optimizer
