"""The loss of each sample: what the model says of noisy latents, and how far that is from what it should say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from core.contracts import Batch
from core.devices.torch_device import sent
from core.objectives import Objective
from core.settings.bases import LossConfig
from core.training.noise import draw_noise, draw_perturbation, draw_times

if TYPE_CHECKING:
    from core.training.setup import Run

PRIOR = "prior_prediction"
"""The kind of the samples for which the model is held to what it said before training."""


def sample_losses(run: Run, batch: Batch) -> Tensor:
    """The weighted loss of each sample, B, fp32."""
    objective, clean = run.objective, sent(batch.latents, run.device)
    times = draw_times(run, batch)
    noise = draw_noise(run, batch, times)
    perturbation = draw_perturbation(run, batch)
    times, noise = sent(times, run.device), sent(noise, run.device)
    added = noise if perturbation is None else noise + sent(perturbation, run.device)
    noisy = objective.add_noise(clean, added, times)
    with run.accelerator.autocast():
        conditions = run.conditions(batch)
        run.network.before_step(objective.level(times))
        prediction = run.family.predict(run.model, noisy, times, conditions)
    target = objective.target(clean, noise, times)
    prediction, target = prediction.float(), target.float()
    prior = prior_predictions(run, batch, noisy, times)
    whole = [place for place, kind in enumerate(batch.kinds) if kind == PRIOR]
    if prior is not None and whole:
        places = sent(torch.tensor(whole), run.device)
        target = target.index_copy(0, places, prior[places])
    losses = means(weighted_errors(run.config.losses, prediction, target, objective, times), batch.mask)
    if prior is not None and batch.held is not None:
        losses = losses + means(weighted_errors(run.config.losses, prediction, prior, objective, times), batch.held)
    for weighting in run.config.weightings:
        losses = losses * weighting.weights(objective, times)
    return losses


def prior_predictions(run: Run, batch: Batch, noisy: Tensor, times: Tensor) -> Tensor | None:
    """What the model says without the network, B C h w, fp32; 0 for samples that don't need it, None if none does."""
    needed = [
        place
        for place, kind in enumerate(batch.kinds)
        if kind == PRIOR or (batch.held is not None and bool(batch.held[place].any()))
    ]
    if not needed:
        return None
    places = sent(torch.tensor(needed), run.device)
    said = prior_prediction(run, batch.only(needed), noisy[places], times[places])
    return torch.zeros(noisy.shape, device=noisy.device).index_copy(0, places, said)


def prior_prediction(run: Run, batch: Batch, noisy: Tensor, times: Tensor) -> Tensor:
    """What the model says without the network, fp32, no gradients."""
    with torch.no_grad(), run.network.disabled(), run.accelerator.autocast():
        return run.family.predict(run.model, noisy, times, run.conditions(batch)).float()


def weighted_errors(
    losses: Sequence[LossConfig], prediction: Tensor, target: Tensor, objective: Objective, times: Tensor
) -> Tensor:
    """What each element's error costs, B C h w, fp32: the losses' sum, each by its weight."""
    total = torch.zeros_like(prediction)
    for loss in losses:
        total = total + loss.weight * loss.errors(prediction, target, objective, times)
    return total


def mean_errors(prediction: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """The mean squared error of each sample, B, fp32; each latent pixel's is first multiplied by the mask (B 1 h w)."""
    return means((prediction.float() - target.float()).square(), mask)


def means(errors: Tensor, mask: Tensor | None) -> Tensor:
    """The mean of each sample's errors (B C h w), B; each latent pixel's are first multiplied by the mask (B 1 h w)."""
    if mask is not None:
        errors = errors * sent(mask, errors.device)
    return errors.flatten(1).mean(1)
