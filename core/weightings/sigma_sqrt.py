"""Little noised samples of a flow model count for more."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from core.settings.bases import WeightingConfig

if TYPE_CHECKING:
    from torch import Tensor

    from core.objectives import Objective

_LEAST_SIGMA = 1e-3


class SigmaSqrt(WeightingConfig):
    """1 / sigma^2, with a sigma of at least 0.001, diffusers' and kohya's `sigma_sqrt`.

    Theirs go through the 1000 levels of a schedule, of which that is the least; without a limit the mean is infinite.
    """

    label: ClassVar[str] = "Inverse sigma squared (sigma_sqrt)"
    objectives: ClassVar[tuple[str, ...]] = ("flow",)

    name: Literal["sigma_sqrt"] = "sigma_sqrt"

    def weights(self, objective: Objective, times: Tensor) -> Tensor:
        return objective.level(times).clamp(min=_LEAST_SIGMA) ** -2.0
