"""Measures how well the model does on pictures that it doesn't learn, the same way each time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from core.contracts import Batch
from core.dataset.draws import generator_for
from core.families._sampling import evaluating
from core.training.encoding import in_good_time
from core.training.events import Validated
from core.training.losses import mean_errors

if TYPE_CHECKING:
    from core.dataset.settings import Concept
    from core.training.setup import Run

TIMES = 4
"""Each picture is measured at so many times, evenly spread over those that are trained."""


def validate(run: Run, step: int) -> None:
    """Measure the validation concepts after a step, and tell."""
    batches = run.batches.validation
    if not batches:
        return
    total = sum(len(of_concept) for of_concept in batches.values())
    tell, done = in_good_time("Measuring what isn't learned", run.report), 0
    losses: dict[str, float] = {}
    for concept, name in names(run.config.concepts, batches).items():
        measured: list[Tensor] = []
        for draws in batches[concept]:
            measured.append(losses_of(run, run.batches.batch_of(draws)))
            done += 1
            tell(done, total)
        losses[name] = float(torch.cat(measured).double().mean())
    run.report(Validated(step=step, losses=losses))


def losses_of(run: Run, batch: Batch) -> Tensor:
    """Each sample's mean squared error over all times, B, fp32 on the CPU; masks count, weightings don't.

    The noise hangs on the run's seed and the sample's number alone, nothing drops out, and no generator of training is
    touched, so that a run learns the same with and without validation.
    """
    with evaluating(run.model.parts):
        clean = batch.latents.to(run.device)
        with run.accelerator.autocast():
            conditions = run.conditions(batch)
        losses = []
        for place, time in enumerate(run.objective.spread_times(TIMES)):
            times = time.expand(len(clean)).to(run.device)
            noise = fixed_noise(run, batch, place)
            noisy = run.objective.add_noise(clean, noise, times)
            with run.accelerator.autocast():
                prediction = run.family.predict(run.model, noisy, times, conditions)
            target = run.objective.target(clean, noise, times)
            losses.append(mean_errors(prediction, target, batch.mask))
    return torch.stack(losses).mean(0).cpu()


def fixed_noise(run: Run, batch: Batch, place: int) -> Tensor:
    """Noise like the latents for the how-manieth of the times."""
    noises = [
        torch.randn(latent.shape, generator=generator_for(run.seed, "validation noise", sample, place))
        for latent, sample in zip(batch.latents, batch.samples, strict=True)
    ]
    return torch.stack(noises).to(run.device)


def names(concepts: Iterable[Concept], wanted: Mapping[int, object]) -> dict[int, str]:
    """What concepts are called in reports: their name, or else their folder's; their number too where two are alike."""
    plain = {
        index: concept.name or Path(concept.folder).name or f"concept {index + 1}"
        for index, concept in enumerate(concepts)
        if index in wanted
    }
    taken = list(plain.values())
    return {i: name if taken.count(name) == 1 else f"{name} ({i + 1})" for i, name in plain.items()}
