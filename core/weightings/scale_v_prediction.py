"""Makes the loss of v-prediction that of the noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from core.settings.bases import WeightingConfig

if TYPE_CHECKING:
    from torch import Tensor

    from core.objectives import Objective


class ScaleVPrediction(WeightingConfig):
    """SNR / (SNR + 1), with an SNR of at most 1000: an error of v counts as the error of epsilon that it is.

    kohya's scale_v_pred_loss_like_noise_pred. With zero terminal SNR the last times, from which a model learns the
    brightness of the whole picture, then hardly count.
    """

    label: ClassVar[str] = "v-prediction scaled like noise"
    predictions: ClassVar[tuple[str, ...]] = ("v_prediction",)

    name: Literal["scale_v_prediction"] = "scale_v_prediction"

    def weights(self, objective: Objective, times: Tensor) -> Tensor:
        snr = objective.snr(times).clamp(max=1000)
        return snr / (snr + 1)
