"""Squared for small errors, straight for large ones, at the scale of the squared error."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from core.losses._threshold import ThresholdLoss
from core.settings import setting

if TYPE_CHECKING:
    from torch import Tensor

    from core.objectives import Objective


class Huber(ThresholdLoss):
    """The square of small errors, straight for large ones, so that bad pictures pull less.

    smooth: 2 c (sqrt(d^2 + c^2) - c), the pseudo-Huber loss as kohya's trainer scales it. exact: Huber's own with
    torch's scale, d^2 / 2 up to c and c (|d| - c / 2) above, as OneTrainer has it.
    """

    label: ClassVar[str] = "Huber"

    name: Literal["huber"] = "huber"
    shape: Literal["smooth", "exact"] = setting(
        "smooth",
        "Shape",
        "smooth: bends gently, as kohya's. exact: a parabola that becomes a line, half as high, as OneTrainer's.",
        level="advanced",
    )

    def errors(self, prediction: Tensor, target: Tensor, objective: Objective, times: Tensor) -> Tensor:
        import torch

        difference, c = prediction - target, self.threshold(objective, times, prediction)
        if self.shape == "smooth":
            return 2 * c * ((difference.square() + c.square()).sqrt() - c)
        size = difference.abs()
        return torch.where(size <= c, difference.square() / 2, c * (size - c / 2))
