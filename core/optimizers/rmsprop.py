"""RMSprop, torch's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.optimizers._settings import epsilon, momentum, squares_memory, weight_decay
from core.settings import setting
from core.settings.bases import OptimizerConfig

if TYPE_CHECKING:
    from torch.optim import Optimizer


class RMSprop(OptimizerConfig):
    """Adam's forerunner: divides by the gradients' usual size, and remembers nothing else (Hinton 2012)."""

    label: ClassVar[str] = "RMSprop"
    programs_call_it: ClassVar[tuple[str, ...]] = ("RMSprop", "RMSPROP")
    state_bytes_per_weight: ClassVar[float] = 4.0
    fused_backward: ClassVar[bool] = True

    name: Literal["rmsprop"] = "rmsprop"
    alpha: float = squares_memory()
    momentum: float = momentum()
    centered: bool = setting(
        False,
        "Centered",
        "Divides by how much gradients vary, not by their size; 4 bytes more per weight.",
        level="advanced",
    )
    weight_decay: float = weight_decay()
    eps: float = epsilon()

    def state_bytes(self) -> float:
        return 4.0 * (1 + bool(self.momentum) + self.centered)

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from torch.optim import RMSprop

        return RMSprop(
            groups,
            alpha=self.alpha,
            momentum=self.momentum,
            centered=self.centered,
            weight_decay=self.weight_decay,
            eps=self.eps,
        )
