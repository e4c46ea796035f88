"""The middle noise levels of a flow model count for more."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from core.settings.bases import WeightingConfig

if TYPE_CHECKING:
    from torch import Tensor

    from core.objectives import Objective


class CosMapWeighting(WeightingConfig):
    """2 / (pi (1 - 2 sigma + 2 sigma^2)): as if times were drawn by CosMap.

    Esser et al. 2024, section 3.1; diffusers' and kohya's `cosmap`.
    """

    label: ClassVar[str] = "CosMap"
    objectives: ClassVar[tuple[str, ...]] = ("flow",)

    name: Literal["cos_map"] = "cos_map"

    def weights(self, objective: Objective, times: Tensor) -> Tensor:
        sigma = objective.level(times)
        return 2 / (math.pi * (1 - 2 * sigma + 2 * sigma.square()))
