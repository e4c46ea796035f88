"""The logarithm of the error's hyperbolic cosine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from core.settings.bases import LossConfig

if TYPE_CHECKING:
    from torch import Tensor

    from core.objectives import Objective


class LogCosh(LossConfig):
    """log(cosh(error)): half the square of small errors, the absolute value of large ones less log 2."""

    label: ClassVar[str] = "Log-cosh"

    name: Literal["log_cosh"] = "log_cosh"

    def errors(self, prediction: Tensor, target: Tensor, objective: Objective, times: Tensor) -> Tensor:
        from torch.nn.functional import softplus

        size = (prediction - target).abs()  # cosh itself overflows at 89
        return size + softplus(-2 * size) - math.log(2)
