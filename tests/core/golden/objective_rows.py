"""Noisy pictures and targets."""

from __future__ import annotations

import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from core.contracts import Model
from core.objectives import Diffusion, Flow
from core.registry import registry
from tests.core.golden.table import SD, Row, alphas, drawn, scheduler

TIMES = torch.tensor([0, 1, 500, 998, 999])
CLEAN, NOISE = drawn(5, 4, 3, 2, seed=1), drawn(5, 4, 3, 2, seed=2)
LEVELS = FlowMatchEulerDiscreteScheduler().timesteps[[0, 10, 500, 999]]


def diffusion(prediction: str = "epsilon", zero_terminal: bool = False) -> Diffusion:
    """The objective that a family makes of a model."""
    model = Model("sd15", {}, {}, dict(SD), prediction=prediction, zero_terminal_snr=zero_terminal)  # type: ignore[arg-type]
    return registry("families").get("sd15")().objective(model)


def _wide(numbers: torch.Tensor) -> torch.Tensor:
    return numbers.double().reshape(-1, 1, 1, 1)


def _noisy(zero_terminal: bool) -> torch.Tensor:
    share = _wide(alphas(zero_terminal)[TIMES])
    return share.sqrt() * CLEAN + (1 - share).sqrt() * NOISE


def _v(zero_terminal: bool) -> torch.Tensor:
    share = _wide(alphas(zero_terminal)[TIMES])
    return share.sqrt() * NOISE - (1 - share).sqrt() * CLEAN


def _slope() -> torch.Tensor:
    """How the noisy picture changes with the level."""
    levels, made = FlowMatchEulerDiscreteScheduler(), []
    for place in (200, 800):
        time = levels.timesteps[place]
        noisy = levels.scale_noise(CLEAN.double(), time.expand(5), NOISE.double())  # type: ignore[arg-type]
        made.append((float(time) / 1000, noisy))
    (level, noisy), (other, less_noisy) = made
    return (noisy - less_noisy) / (level - other)


ROWS = [
    Row(
        "objectives.diffusion", "alpha-bar", "Ho et al. 2020, section 2, with Stable Diffusion's betas",
        lambda: diffusion().alphas_cumprod, alphas, rtol=1e-4,
    ),
    Row(
        "objectives.diffusion", "alpha-bar with zero terminal SNR", "Lin et al. 2023, algorithm 1",
        lambda: diffusion(zero_terminal=True).alphas_cumprod, lambda: alphas(True), rtol=1e-3, atol=1e-6,
    ),
    Row(
        "objectives.diffusion", "alpha-bar with zero terminal SNR, in diffusers", "diffusers, DDPMScheduler",
        lambda: diffusion(zero_terminal=True).alphas_cumprod, lambda: scheduler(True).alphas_cumprod,
    ),
    Row(
        "objectives.diffusion", "noisy", "Ho et al. 2020, equation 4",
        lambda: diffusion().add_noise(CLEAN, NOISE, TIMES), lambda: _noisy(False),
    ),
    Row(
        "objectives.diffusion", "noisy with zero terminal SNR", "Ho et al. 2020, equation 4; Lin et al. 2023",
        lambda: diffusion(zero_terminal=True).add_noise(CLEAN, NOISE, TIMES), lambda: _noisy(True),
        rtol=1e-4, atol=1e-3,
    ),
    Row(
        "objectives.diffusion", "noisy, in diffusers", "diffusers, DDPMScheduler.add_noise",
        lambda: diffusion().add_noise(CLEAN, NOISE, TIMES), lambda: scheduler().add_noise(CLEAN, NOISE, TIMES),
    ),
    Row(
        "objectives.diffusion", "epsilon", "Ho et al. 2020, equation 14",
        lambda: diffusion().target(CLEAN, NOISE, TIMES), lambda: NOISE,
    ),
    Row(
        "objectives.diffusion", "v", "Salimans and Ho 2022, section 4",
        lambda: diffusion("v_prediction").target(CLEAN, NOISE, TIMES), lambda: _v(False), atol=1e-6,
    ),
    Row(
        "objectives.diffusion", "v with zero terminal SNR", "Salimans and Ho 2022, section 4; Lin et al. 2023",
        lambda: diffusion("v_prediction", True).target(CLEAN, NOISE, TIMES), lambda: _v(True), rtol=1e-4, atol=1e-3,
    ),
    Row(
        "objectives.diffusion", "v, in diffusers", "diffusers, DDPMScheduler.get_velocity",
        lambda: diffusion("v_prediction").target(CLEAN, NOISE, TIMES),
        lambda: scheduler().get_velocity(CLEAN, NOISE, TIMES),
    ),
    Row(
        "objectives.diffusion", "SNR", "Kingma et al. 2021",
        lambda: diffusion().snr(TIMES), lambda: (alphas() / (1 - alphas()))[TIMES], rtol=1e-3,
    ),
    Row(
        "objectives.diffusion", "level", "a time's share of all times",
        lambda: diffusion().level(TIMES), lambda: [0, 0.001, 0.5, 0.998, 0.999],
    ),
    Row(
        "objectives.flow", "noisy", "Esser et al. 2024, equation 13, with a = 1 - t and b = t",
        lambda: Flow().add_noise(CLEAN[:3], NOISE[:3], torch.tensor([0.0, 250.0, 1000.0])),
        lambda: torch.stack([CLEAN[0].double(), (3 * CLEAN[1].double() + NOISE[1].double()) / 4, NOISE[2].double()]),
    ),
    Row(
        "objectives.flow", "noisy, in diffusers", "diffusers, FlowMatchEulerDiscreteScheduler.scale_noise",
        lambda: Flow().add_noise(CLEAN[:4], NOISE[:4], LEVELS),
        lambda: FlowMatchEulerDiscreteScheduler().scale_noise(CLEAN[:4], LEVELS, NOISE[:4]),  # type: ignore[arg-type]
    ),
    Row(
        "objectives.flow", "target", "Liu et al. 2022, equation 1: the slope of diffusers' scale_noise",
        lambda: Flow().target(CLEAN, NOISE, TIMES.float()),
        _slope, atol=1e-5,
    ),
    Row(
        "objectives.flow", "SNR", "the squares of the two shares, Kingma et al. 2021",
        lambda: Flow().snr(torch.tensor([100.0, 500.0, 1000.0])), lambda: [81.0, 1.0, 0.0],
    ),
    Row(
        "objectives.flow", "times of fractions", "Esser et al. 2024: told to the model times 1000",
        lambda: Flow(200, 400).times_at(torch.tensor([0.0, 0.25, 1.0])), lambda: [200.0, 250.0, 400.0],
    ),
]  # fmt: skip
