"""The noise that pictures are hidden in, and the times: for each sample a function of seed and sample number alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from core.contracts import Batch
from core.dataset.draws import generator_for, shuffled, uniform_for

if TYPE_CHECKING:
    from core.training.setup import Run


def draw_times(run: Run, batch: Batch) -> Tensor:
    """Times, B, on the device."""
    height, width = batch.latents.shape[-2:]
    config = run.config.times
    shares = (even_draw(run.seed, sample, config.strata) for sample in batch.samples)
    fractions = [config.fraction(share, height, width) for share in shares]
    return run.objective.times_at(torch.tensor(fractions, dtype=torch.float64)).to(run.device)


def even_draw(seed: int, sample: int, strata: int) -> float:
    """A number from 0 to 1 for a sample. Of `strata` samples that follow one another, each has another equal part."""
    drawn = uniform_for(seed, "times", sample)
    if strata == 1:
        return drawn
    group, place = divmod(sample, strata)
    return (shuffled(range(strata), seed, "strata", group)[place] + drawn) / strata


def draw_noise(run: Run, batch: Batch, times: Tensor) -> Tensor:
    """Noise like the latents, on the device."""
    offset = run.config.noise.noise_offset
    noises = []
    for latent, sample in zip(batch.latents, batch.samples, strict=True):
        noise = torch.randn(latent.shape, generator=generator_for(run.seed, "noise", sample))
        if offset:
            generator = generator_for(run.seed, "noise offset", sample)
            noise += offset * torch.randn(latent.shape[0], *[1] * (latent.dim() - 1), generator=generator)
        noises.append(noise)
    return torch.stack(noises).to(run.device)


def perturbed(run: Run, batch: Batch, noise: Tensor) -> Tensor:
    """The noise that is added."""
    return noise
