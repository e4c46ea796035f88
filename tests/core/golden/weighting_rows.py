"""Factors on the loss by noise level."""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers.training_utils import compute_loss_weighting_for_sd3

from core.objectives import Flow
from core.registry import registry
from tests.core.golden.objective_rows import diffusion
from tests.core.golden.table import Row, alphas

TIMES = torch.tensor([0, 1, 100, 300, 500, 700, 900, 998, 999])
SIGMAS = torch.tensor([0.001, 0.1, 0.25, 0.5, 0.9, 1.0])
MIN_SNR = "Hang et al. 2023, section 3.4"
KOHYA = "kohya's trainer, custom_train_functions.py"


def _snr(zero_terminal: bool = False) -> torch.Tensor:
    share = alphas(zero_terminal)[TIMES]
    return share / (1 - share)


def _row(
    name: str, row: str, source: str, expected: Any, prediction: str = "epsilon", ztsnr: bool = False, **own: Any
) -> Row:
    """expected: of the SNR, float64."""

    def ours() -> torch.Tensor:
        weighting = registry("weightings").get(name)(**own)
        return weighting.weights(diffusion(prediction, ztsnr), TIMES)

    # diffusers' fp32 leaves relative errors in the smallest alphas, of which that at the end isn't quite 0
    rtol, atol = (5e-3, 2e-6) if ztsnr else (1e-3, 0.0)
    return Row(f"weightings.{name}", row, source, ours, lambda: expected(_snr(ztsnr)), rtol, atol)


def _flow(name: str, source: str, expected: Any) -> Row:
    def ours() -> torch.Tensor:
        return registry("weightings").get(name)().weights(Flow(), SIGMAS * 1000)

    return Row(f"weightings.{name}", f"flow, {source}", source, ours, lambda: expected(SIGMAS.double()))


def _least(snr: torch.Tensor, most: float) -> torch.Tensor:
    return torch.tensor([min(value, most) for value in snr.tolist()], dtype=torch.float64)


ROWS = [
    _row("min_snr", "epsilon", MIN_SNR, lambda snr: _least(snr, 5) / snr),
    _row("min_snr", "epsilon, gamma 1", MIN_SNR, lambda snr: _least(snr, 1) / snr, gamma=1.0),
    _row("min_snr", "v", MIN_SNR, lambda snr: _least(snr, 5) / (snr + 1), "v_prediction"),
    _row(
        "min_snr", "v with zero terminal SNR, of the rescaled levels", f"{MIN_SNR}; as OneTrainer",
        lambda snr: _least(snr, 5) / (snr + 1), "v_prediction", True,
    ),
    _row(
        "soft_min_snr", "epsilon", "Crowson et al. 2024: 1 / (sigma^2 + 1 / gamma) on the picture's error",
        lambda snr: 1 / (1 / snr + 1 / 4) / snr,
    ),
    _row(
        "soft_min_snr", "v, gamma 2", "Crowson et al. 2024, with the picture's error of v: 1 / (SNR + 1)",
        lambda snr: 1 / (1 / snr + 1 / 2) / (snr + 1), "v_prediction", gamma=2.0,
    ),
    _row("debiased", "epsilon", f"Yu et al. 2023; {KOHYA}", lambda snr: 1 / _least(snr, 1000).sqrt()),
    _row("debiased", "v", KOHYA, lambda snr: 1 / (_least(snr, 1000) + 1), "v_prediction"),
    _row("debiased", "v with zero terminal SNR", KOHYA, lambda snr: 1 / (_least(snr, 1000) + 1), "v_prediction", True),
    _row("p2", "epsilon", "Choi et al. 2022", lambda snr: 1 / (1 + snr)),
    _row("p2", "gamma 0.5, k 2", "Choi et al. 2022", lambda snr: (2 + snr) ** -0.5, gamma=0.5, k=2.0),
    _row(
        "p2", "v", "Choi et al. 2022, on the error of epsilon that one of v is: alpha-bar of it",
        lambda snr: snr / (1 + snr) / (1 + snr), "v_prediction",
    ),
    _row("scale_v_prediction", "v", KOHYA, lambda snr: _least(snr, 1000) / (_least(snr, 1000) + 1), "v_prediction"),
    _row(
        "v_prediction_like", "epsilon", KOHYA,
        lambda snr: 1 + 0.3 / (_least(snr, 1000) / (_least(snr, 1000) + 1)), strength=0.3,
    ),
    _flow("sigma", "OneTrainer's SIGMA", lambda sigmas: sigmas),
    _flow(
        "sigma_sqrt", "diffusers, compute_loss_weighting_for_sd3",
        lambda sigmas: compute_loss_weighting_for_sd3("sigma_sqrt", sigmas),
    ),
    _flow(
        "cos_map", "diffusers, compute_loss_weighting_for_sd3",
        lambda sigmas: compute_loss_weighting_for_sd3("cosmap", sigmas),
    ),
    _flow(
        "cos_map", "Esser et al. 2024, section 3.1",
        lambda sigmas: [2 / (math.pi - 2 * math.pi * s + 2 * math.pi * s * s) for s in sigmas.tolist()],
    ),
]  # fmt: skip
