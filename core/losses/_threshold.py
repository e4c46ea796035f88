"""The threshold of losses that are squares for small errors and straight for large ones, and how it follows the time.

As kohya's trainer has it (train_util.py, get_huber_threshold_if_needed), which leaves the scale out under `snr`; here
it counts under every schedule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from core.settings import setting
from core.settings.bases import LossConfig

if TYPE_CHECKING:
    from torch import Tensor

    from core.objectives import Objective


class ThresholdLoss(LossConfig):
    """A loss with a threshold c."""

    huber_c: float = setting(
        0.1,
        "Threshold",
        "Errors above it count less than by their square. Under a schedule: what is left of it at noise alone.",
        gt=0,
        le=100,
        also=("huber_c", "huber_delta"),
    )
    huber_schedule: Literal["constant", "exponential", "snr"] = setting(
        "snr",
        "Threshold over time",
        "exponential: falls evenly from 1. snr: falls from 1 with the signal-to-noise ratio. constant: stays.",
        also=("huber_schedule",),
    )
    huber_scale: float = setting(
        1.0, "Scale of the threshold", "Multiplies it.", gt=0, le=1000, level="advanced", also=("huber_scale",)
    )

    def threshold(self, objective: Objective, times: Tensor, like: Tensor) -> Tensor:
        """c of each sample, with axes to multiply `like` (B C h w)."""
        import torch

        if self.huber_schedule == "exponential":
            c = self.huber_c ** objective.level(times)
        elif self.huber_schedule == "snr":
            sigma = objective.snr(times).rsqrt()  # infinite for pure noise, which leaves huber_c
            c = (1 - self.huber_c) / (1 + sigma).square() + self.huber_c
        else:
            c = torch.full_like(times, self.huber_c, dtype=torch.float32)
        return (self.huber_scale * c).to(like.device, like.dtype).reshape(-1, *[1] * (like.dim() - 1))
