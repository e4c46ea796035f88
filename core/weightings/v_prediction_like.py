"""Adds the loss of v-prediction to that of the noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from core.settings import setting
from core.settings.bases import WeightingConfig

if TYPE_CHECKING:
    from torch import Tensor

    from core.objectives import Objective


class VPredictionLike(WeightingConfig):
    """1 + strength (SNR + 1) / SNR, with an SNR of at most 1000: also what the error would cost as one of v.

    kohya's v_pred_like_loss.
    """

    label: ClassVar[str] = "Noise with a share of v-prediction"
    predictions: ClassVar[tuple[str, ...]] = ("epsilon",)
    needs_signal: ClassVar[tuple[str, ...]] = ("epsilon",)

    name: Literal["v_prediction_like"] = "v_prediction_like"
    strength: float = setting(
        0.1, "Strength", "How much the loss of v counts beside that of the noise.", gt=0, le=100,
        also=("v_pred_like_loss",),
    )  # fmt: skip

    def weights(self, objective: Objective, times: Tensor) -> Tensor:
        snr = objective.snr(times).clamp(max=1000)
        return 1 + self.strength * (snr + 1) / snr
