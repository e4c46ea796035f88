"""Noisy samples of a flow model count for more."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from core.settings.bases import WeightingConfig

if TYPE_CHECKING:
    from torch import Tensor

    from core.objectives import Objective


class Sigma(WeightingConfig):
    """The noise level sigma itself. OneTrainer's SIGMA."""

    label: ClassVar[str] = "Sigma"
    objectives: ClassVar[tuple[str, ...]] = ("flow",)

    name: Literal["sigma"] = "sigma"

    def weights(self, objective: Objective, times: Tensor) -> Tensor:
        return objective.level(times)
