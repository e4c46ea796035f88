"""Diffusion's noise, target and signal-to-noise ratio against diffusers' schedulers."""

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr

from core.objectives import Diffusion

SCHEDULER = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False)
TIMES = torch.tensor([0, 1, 500, 998, 999])


def samples() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, 4, 8, 8, generator=generator), torch.randn(5, 4, 8, 8, generator=generator)


def test_noise_is_added_as_diffusers_does() -> None:
    clean, noise = samples()
    ours = Diffusion(SCHEDULER.alphas_cumprod).add_noise(clean, noise, TIMES)
    torch.testing.assert_close(ours, SCHEDULER.add_noise(clean, noise, TIMES))  # type: ignore[arg-type]


def test_epsilon_targets_the_noise() -> None:
    clean, noise = samples()
    assert Diffusion(SCHEDULER.alphas_cumprod).target(clean, noise, TIMES) is noise


def test_v_prediction_targets_diffusers_velocity() -> None:
    clean, noise = samples()
    ours = Diffusion(SCHEDULER.alphas_cumprod, "v_prediction").target(clean, noise, TIMES)
    torch.testing.assert_close(ours, SCHEDULER.get_velocity(clean, noise, TIMES))  # type: ignore[arg-type]


def test_snr_is_diffusers() -> None:
    torch.testing.assert_close(Diffusion(SCHEDULER.alphas_cumprod).snr(TIMES), compute_snr(SCHEDULER, TIMES))


@pytest.mark.parametrize(("first", "end", "expected"), [(0, 1000, (0, 999)), (200, 400, (200, 399))])
def test_times_fill_their_range(first: int, end: int, expected: tuple[int, int]) -> None:
    objective = Diffusion(SCHEDULER.alphas_cumprod, first=first, end=end)
    times = objective.times_at(torch.rand(100_000, generator=torch.Generator().manual_seed(0)))
    assert (int(times.min()), int(times.max())) == expected
    middle = (expected[0] + expected[1]) / 2
    assert abs(float(times.double().mean()) - middle) < 0.01 * (expected[1] - expected[0] + 1)


@pytest.mark.parametrize(
    ("first", "end", "count", "expected"),
    [(0, 1000, 4, [125, 375, 625, 875]), (200, 400, 2, [250, 350]), (999, 1000, 3, [999] * 3)],
)
def test_spread_times_are_the_middles_of_equal_parts(first: int, end: int, count: int, expected: list[int]) -> None:
    assert Diffusion(SCHEDULER.alphas_cumprod, first=first, end=end).spread_times(count).tolist() == expected
