"""The squared error."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from core.settings.bases import LossConfig

if TYPE_CHECKING:
    from torch import Tensor

    from core.objectives import Objective


class L2(LossConfig):
    """The squared error, as diffusion models are trained (Ho et al. 2020, equation 14). OneTrainer's MSE."""

    label: ClassVar[str] = "L2 (squared error)"

    name: Literal["l2"] = "l2"

    def errors(self, prediction: Tensor, target: Tensor, objective: Objective, times: Tensor) -> Tensor:
        return (prediction - target).square()
