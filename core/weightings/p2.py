"""P2: little noised samples, which teach only fine detail, count for less."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from core.settings import setting
from core.settings.bases import WeightingConfig

if TYPE_CHECKING:
    from torch import Tensor

    from core.objectives import Objective


class P2(WeightingConfig):
    """1 / (k + SNR)^gamma on the error of epsilon.

    Choi et al. 2022 (Perception Prioritized Training of Diffusion Models). For v-prediction it is
    multiplied by SNR / (SNR + 1), which makes an error of v the error of epsilon that it is; OneTrainer takes
    1 / (2 + SNR)^gamma there, which is no longer the paper's.
    """

    label: ClassVar[str] = "P2"

    name: Literal["p2"] = "p2"
    gamma: float = setting(
        1.0, "Gamma", "Higher prefers noisy samples more; 0.5 and 1 are the paper's.", ge=0, le=20,
        also=("loss_weight_strength",),
    )  # fmt: skip
    k: float = setting(1.0, "k", "Keeps the weight of noisy samples finite; 1 is the paper's.", gt=0, level="advanced")

    def weights(self, objective: Objective, times: Tensor) -> Tensor:
        snr = objective.snr(times)
        weights = (self.k + snr) ** -self.gamma
        return weights * snr / (snr + 1) if objective.prediction == "v_prediction" else weights
