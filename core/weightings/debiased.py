"""Debiased estimation: noisy samples count for more, as their small errors are large in the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from core.settings.bases import WeightingConfig

if TYPE_CHECKING:
    from torch import Tensor

    from core.objectives import Objective

_LARGEST_SNR = 1000.0


class Debiased(WeightingConfig):
    """1 / sqrt(SNR) for epsilon, 1 / (SNR + 1) for v-prediction; the SNR is at most 1000.

    Yu et al. 2023 (Debias the Training of Diffusion Models), which is on epsilon alone. For v-prediction,
    and the limit, as kohya's trainer (debiased_estimation_loss); this is the squared error of the picture itself, which
    the paper derives as the unbiased one before it takes the root. OneTrainer takes 1 / sqrt(SNR + 1).
    """

    label: ClassVar[str] = "Debiased estimation"
    needs_signal: ClassVar[tuple[str, ...]] = ("epsilon",)

    name: Literal["debiased"] = "debiased"

    def weights(self, objective: Objective, times: Tensor) -> Tensor:
        snr = objective.snr(times).clamp(max=_LARGEST_SNR)
        return 1 / (snr + 1) if objective.prediction == "v_prediction" else snr.rsqrt()
