"""The base class of weightings: a factor on each sample's loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from core.settings.setting import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from core.objectives import Objective


class WeightingConfig(Settings):
    """A factor on each sample's loss that depends on its noise level."""

    label: ClassVar[str]

    name: str

    def weights(self, objective: Objective, times: Tensor) -> Tensor:
        """Factors, B, for samples at `times`, B."""
        raise NotImplementedError
