"""The noise that pictures are hidden in, and the times: for each sample a function of seed and sample number alone."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from core.contracts import Batch
from core.dataset.draws import generator_for, shuffled, uniform_for
from core.objectives import Diffusion

if TYPE_CHECKING:
    from core.config.sections import Noise
    from core.training.setup import Run


# -- times


def draw_times(run: Run, batch: Batch) -> Tensor:
    """Times, B, on the CPU."""
    height, width = batch.latents.shape[-2:]
    config = run.config.times
    shares = (even_draw(run.seed, sample, config.strata) for sample in batch.samples)
    fractions = [config.fraction(share, height, width) for share in shares]
    return run.objective.times_at(torch.tensor(fractions, dtype=torch.float64))


def even_draw(seed: int, sample: int, strata: int) -> float:
    """A number from 0 to 1 for a sample. Of `strata` samples that follow one another, each has another equal part."""
    drawn = uniform_for(seed, "times", sample)
    if strata == 1:
        return drawn
    group, place = divmod(sample, strata)
    return (_order_of_strata(seed, strata, group)[place] + drawn) / strata


@lru_cache(maxsize=64)
def _order_of_strata(seed: int, strata: int, group: int) -> list[int]:
    return shuffled(range(strata), seed, "strata", group)


# -- noise


def draw_noise(run: Run, batch: Batch, times: Tensor) -> Tensor:
    """Noise like the latents, B C h w, on the CPU: what the model has to find. times: B, on the CPU."""
    config = run.config.noise
    shares = offset_shares(run, times)
    drawn = []
    for latent, sample, share in zip(batch.latents, batch.samples, shares, strict=True):
        noise = torch.randn(latent.shape, generator=generator_for(run.seed, "noise", sample))
        if config.noise_offset or config.adaptive_noise_scale:
            noise += share * offset(latent, config, generator_for(run.seed, "noise offset", sample))
        if config.multires_noise_iterations:
            noise = multi_resolution(noise, config, generator_for(run.seed, "multi-resolution noise", sample))
        drawn.append(noise)
    return torch.stack(drawn)


def draw_perturbation(run: Run, batch: Batch) -> Tensor | None:
    """Noise like the latents, on the CPU, that is added to the pictures besides, and that the model isn't to find.

    Ning et al. 2023 (Input Perturbation Reduces Exposure Bias), as kohya's ip_noise_gamma; OneTrainer's perturbation
    noise is also in what the model has to find, which makes it no more than stronger noise.
    """
    config = run.config.noise
    if not config.ip_noise_gamma:
        return None
    drawn = []
    for latent, sample in zip(batch.latents, batch.samples, strict=True):
        generator = generator_for(run.seed, "input perturbation", sample)
        strength = _strength(config.ip_noise_gamma, config.ip_noise_gamma_random_strength, generator)
        drawn.append(strength * torch.randn(latent.shape, generator=generator))
    return torch.stack(drawn)


def offset_shares(run: Run, times: Tensor) -> list[float]:
    """How much of the noise offset counts at each time."""
    if not run.config.noise.generalized_offset_noise:
        return [1.0] * len(times)
    assert isinstance(run.objective, Diffusion), "checked at set-up"
    return run.objective.offset_share(times).tolist()


def offset(latent: Tensor, config: Noise, generator: torch.Generator) -> Tensor:
    """Noise that is equal over a picture (C h w): C 1 1 (Guttenberg 2023, Diffusion with Offset Noise).

    As kohya's apply_noise_offset, but that the random strength is drawn for each picture, not once for a batch: what
    is drawn for one mustn't hang on the others.
    """
    strength = _strength(config.noise_offset, config.noise_offset_random_strength, generator)
    scale = strength + config.adaptive_noise_scale * latent.flatten(1).mean(1).abs()
    noise = torch.randn(latent.shape[0], generator=generator)
    return (scale.clamp(min=0) * noise).reshape(-1, *[1] * (latent.dim() - 1))


def multi_resolution(noise: Tensor, config: Noise, generator: torch.Generator) -> Tensor:
    """The noise (C h w) with ever coarser noises added, brought to a standard deviation of 1.

    Whitaker 2023 (Multi-Resolution Noise for Diffusion Model Training), as kohya's pyramid_noise_like: the i-th, from
    0, is r^i times as coarse, with r drawn from 2 to 4 for each, and counts discount^i; so the first is as fine as the
    noise itself. kohya's divides by the deviation over the whole batch, here it is each picture's own.
    """
    height, width = noise.shape[-2:]
    total = noise
    for index in range(config.multires_noise_iterations):
        ratio = (2 + 2 * float(torch.rand((), generator=generator))) ** index
        size = (max(1, int(height / ratio)), max(1, int(width / ratio)))
        coarse = torch.randn(1, noise.shape[0], *size, generator=generator)
        total = total + config.multires_noise_discount**index * interpolate(coarse, (height, width), mode="bilinear")[0]
        if 1 in size:
            break
    return total / total.std()


def _strength(most: float, random: bool, generator: torch.Generator) -> float:
    return most * float(torch.rand((), generator=generator)) if random else most
