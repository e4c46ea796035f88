"""The base class of losses: what an error costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from core.settings.setting import Settings, setting

if TYPE_CHECKING:
    from torch import Tensor

    from core.objectives import Objective


class LossConfig(Settings):
    """What an error costs. A run's losses are added up, each by its weight."""

    label: ClassVar[str]

    name: str
    weight: float = setting(
        1.0,
        "Weight",
        "How much it counts beside the others.",
        ge=0,
        le=1000,
        also=("mse_strength", "mae_strength", "huber_strength", "log_cosh_strength"),
    )

    def errors(self, prediction: Tensor, target: Tensor, objective: Objective, times: Tensor) -> Tensor:
        """The cost of each element, not yet weighted: of the shape of prediction and target, B C h w, fp32.

        times: B, of the objective; for losses that change with the noise level.
        """
        raise NotImplementedError
