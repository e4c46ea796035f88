"""Squared for small errors, straight for large ones, at the scale of the absolute error."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from core.losses._threshold import ThresholdLoss

if TYPE_CHECKING:
    from torch import Tensor

    from core.objectives import Objective


class SmoothL1(ThresholdLoss):
    """2 (sqrt(d^2 + c^2) - c): as Huber's, but large errors count by their absolute value. kohya's smooth_l1."""

    label: ClassVar[str] = "Smooth L1"

    name: Literal["smooth_l1"] = "smooth_l1"

    def errors(self, prediction: Tensor, target: Tensor, objective: Objective, times: Tensor) -> Tensor:
        c = self.threshold(objective, times, prediction)
        return 2 * (((prediction - target).square() + c.square()).sqrt() - c)
