"""Min-SNR: keeps the easy, little noised samples from outweighing the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from core.settings import setting
from core.settings.bases import WeightingConfig

if TYPE_CHECKING:
    from torch import Tensor

    from core.objectives import Objective


class MinSnr(WeightingConfig):
    """min(SNR, gamma) / SNR for epsilon, min(SNR, gamma) / (SNR + 1) for v-prediction.

    Efficient Diffusion Training via Min-SNR Weighting Strategy, Hang et al. 2023, section 3.4. For v-prediction it goes
    to 0 with the SNR, so that the noisiest times of a base with zero terminal SNR are hardly trained; that is the
    paper's (it is min(SNR, gamma) on the error of the picture itself), and its authors' own code has it.
    """

    label: ClassVar[str] = "Min-SNR"

    name: Literal["min_snr"] = "min_snr"
    gamma: float = setting(5.0, "Gamma", "Lower evens out more; 5 is the paper's.", gt=0, also=("min_snr_gamma",))

    def weights(self, objective: Objective, times: Tensor) -> Tensor:
        snr = objective.snr(times)
        if objective.prediction == "v_prediction":
            return snr.clamp(max=self.gamma) / (snr + 1)
        return (self.gamma / snr).clamp(max=1)  # the same as min(snr, gamma) / snr, and 1 where snr is 0
