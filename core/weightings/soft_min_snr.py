"""Soft min-SNR: min-SNR without its corner."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from core.settings import setting
from core.settings.bases import WeightingConfig

if TYPE_CHECKING:
    from torch import Tensor

    from core.objectives import Objective


class SoftMinSnr(WeightingConfig):
    """As min-SNR, bending gently: gamma / (SNR + gamma) for epsilon, that times SNR / (SNR + 1) for v-prediction.

    On the error of the picture itself it is 1 / (1 / SNR + 1 / gamma). Crowson et al. 2024 (Hourglass Diffusion
    Transformers).
    """

    label: ClassVar[str] = "Soft min-SNR"

    name: Literal["soft_min_snr"] = "soft_min_snr"
    gamma: float = setting(4.0, "Gamma", "Lower evens out more; 4 is the paper's.", gt=0, also=("soft_min_snr_gamma",))

    def weights(self, objective: Objective, times: Tensor) -> Tensor:
        snr = objective.snr(times)
        weights = self.gamma / (snr + self.gamma)
        return weights * snr / (snr + 1) if objective.prediction == "v_prediction" else weights
