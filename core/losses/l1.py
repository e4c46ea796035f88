"""The absolute error."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from core.settings.bases import LossConfig

if TYPE_CHECKING:
    from torch import Tensor

    from core.objectives import Objective


class L1(LossConfig):
    """The absolute error: large errors, as of a few bad pictures, count for less. OneTrainer's MAE."""

    label: ClassVar[str] = "L1 (absolute error)"

    name: Literal["l1"] = "l1"

    def errors(self, prediction: Tensor, target: Tensor, objective: Objective, times: Tensor) -> Tensor:
        return (prediction - target).abs()
