"""Min-SNR against the paper's formula and diffusers' own signal-to-noise ratio."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr

from core.objectives import Diffusion
from core.weightings.min_snr import MinSnr

TIMES = torch.arange(1000)


def _scheduler(zero_terminal: bool) -> DDPMScheduler:
    return DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", rescale_betas_zero_snr=zero_terminal
    )


@pytest.mark.parametrize("gamma", [1.0, 5.0, 20.0])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_as_in_the_paper_at_every_time(prediction: Literal["epsilon", "v_prediction"], gamma: float) -> None:
    scheduler = _scheduler(zero_terminal=False)
    weights = MinSnr(gamma=gamma).weights(Diffusion(scheduler.alphas_cumprod, prediction), TIMES)
    snr = compute_snr(scheduler, TIMES).double()
    clipped = snr.clamp(max=gamma)
    expected = clipped / snr if prediction == "epsilon" else clipped / (snr + 1)
    torch.testing.assert_close(weights.double(), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_pure_noise_has_a_finite_weight(prediction: Literal["epsilon", "v_prediction"]) -> None:
    alphas = _scheduler(zero_terminal=True).alphas_cumprod.clone()
    alphas[-1] = 0  # diffusers leaves 2 ** -24 there
    objective = Diffusion(alphas, prediction)
    assert objective.snr(TIMES)[-1] == 0
    weights = MinSnr().weights(objective, TIMES)
    assert torch.isfinite(weights).all()
    assert weights[-1] == (1 if prediction == "epsilon" else 0)
    assert ((weights >= 0) & (weights <= 1)).all()


def test_one_weight_for_each_sample_in_any_order() -> None:
    objective = Diffusion(_scheduler(zero_terminal=False).alphas_cumprod)
    times = torch.tensor([999, 0, 500, 0])
    weights = MinSnr().weights(objective, times)
    assert weights.shape == (4,)
    assert torch.equal(weights, MinSnr().weights(objective, TIMES)[times])
    assert weights[1] == weights[3] < weights[0] == 1
