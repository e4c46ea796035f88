"""The loss of each sample: what the model says of noisy latents, and how far that is from what it should say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from core.contracts import Batch
from core.dataset.draws import generator_for

if TYPE_CHECKING:
    from core.training.setup import Run

PRIOR = "prior_prediction"
"""The kind of the samples for which the model is held to what it said before training."""


def sample_losses(run: Run, batch: Batch) -> Tensor:
    """The weighted squared error of each sample, B, fp32."""
    clean = batch.latents.to(run.device)
    noise, times = draw_noise(run, batch)
    noisy = run.objective.add_noise(clean, noise, times)
    with run.accelerator.autocast():
        conditions = run.conditions(batch)
        run.network.before_step(times)
        prediction = run.family.predict(run.model, noisy, times, conditions)
    target = run.objective.target(clean, noise, times)
    if held := [place for place, kind in enumerate(batch.kinds) if kind == PRIOR]:
        prior = prior_prediction(run, batch.only(held), noisy[held], times[held])
        target = target.float().index_copy(0, torch.tensor(held, device=target.device), prior)
    losses = mean_errors(prediction, target, batch.mask)
    for weighting in run.config.weightings:
        losses = losses * weighting.weights(run.objective, times)
    return losses


def prior_prediction(run: Run, batch: Batch, noisy: Tensor, times: Tensor) -> Tensor:
    """What the model says without the network, fp32, no gradients."""
    with torch.no_grad(), run.network.disabled(), run.accelerator.autocast():
        return run.family.predict(run.model, noisy, times, run.conditions(batch)).float()


def mean_errors(prediction: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """The mean squared error of each sample, B, fp32; each latent pixel's is first multiplied by the mask (B 1 h w)."""
    errors = (prediction.float() - target.float()).square()
    if mask is not None:
        errors = errors * mask.to(errors.device)
    return errors.flatten(1).mean(1)


def draw_noise(run: Run, batch: Batch) -> tuple[Tensor, Tensor]:
    """Noise like the latents, and times, B: for each sample a function of the seed and of the sample's number alone."""
    offset = run.config.noise.noise_offset
    noises, times = [], []
    for latent, sample in zip(batch.latents, batch.samples, strict=True):
        generator = generator_for(run.seed, "noise", sample)
        times.append(run.objective.draw_times(1, generator))
        noise = torch.randn(latent.shape, generator=generator)
        if offset:
            noise += offset * torch.randn(latent.shape[0], *[1] * (latent.dim() - 1), generator=generator)
        noises.append(noise)
    return torch.stack(noises).to(run.device), torch.cat(times).to(run.device)
