"""Measures how well the model does on pictures that it doesn't learn, the same way each time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from core.contracts import Batch
from core.dataset.draws import generator_for
from core.families._sampling import evaluating
from core.objectives import TIMES
from core.training.encoding import in_good_time
from core.training.events import Validated
from core.training.losses import mean_errors

if TYPE_CHECKING:
    from core.dataset.settings import Concept
    from core.training.loop import Progress
    from core.training.setup import Run


@dataclass(frozen=True)
class Measured:
    """Mean squared errors, without weightings.

    concepts: of each concept's pictures. levels: of all pictures at each noise level, named in thousandths. mean: of
    all pictures.
    """

    concepts: dict[str, float]
    levels: dict[str, float]
    mean: float


def validate(run: Run, progress: Progress) -> bool:
    """Measure what isn't learned, and tell. Whether the weights of the main file are the best so far."""
    if not run.batches.validation:
        return False
    with run.stepping.evaluating():
        plain, average = measure(run), None
        if run.ema:
            with run.ema.swapped_in():
                average = measure(run)
    mean = average.mean if average and run.config.ema.save != "plain" else plain.mean
    best = progress.best_loss is None or mean < progress.best_loss
    if best:
        progress.best_step, progress.best_loss = progress.step, mean
    told = Validated(step=progress.step, losses=plain.concepts, mean=plain.mean, levels=plain.levels)
    told.judged, told.best = mean, best
    if average:
        told.ema_losses, told.ema_mean = average.concepts, average.mean
    run.report(told)
    return best


def measure(run: Run) -> Measured:
    """Measure the model as it stands on all that isn't learned."""
    batches = run.batches.validation
    total = sum(len(of_concept) for of_concept in batches.values())
    tell, done = in_good_time("Measuring what isn't learned", run.report), 0
    measured: dict[str, Tensor] = {}  # concept -> B T
    for concept, name in names(run.config.concepts, batches).items():
        losses = []
        for draws in batches[concept]:
            losses.append(losses_of(run, run.batches.batch_of(draws)))
            done += 1
            tell(done, total)
        measured[name] = torch.cat(losses).double()
    every = torch.cat(list(measured.values()))
    levels = (1000 * run.objective.level(validation_times(run))).round().long().tolist()
    return Measured(
        concepts={name: float(losses.mean()) for name, losses in measured.items()},
        levels={str(level): float(losses.mean()) for level, losses in zip(levels, every.unbind(1), strict=True)},
        mean=float(every.mean()),
    )


def validation_times(run: Run) -> Tensor:
    """The times at which pictures are measured, T, on the CPU: those that were chosen, or else evenly spread ones."""
    wanted = run.config.validation
    if not wanted.at:
        return run.objective.spread_times(wanted.times)
    whole = dataclasses.replace(run.objective, first=0, end=TIMES)  # type: ignore[type-var]
    return whole.times_at(torch.tensor(sorted(wanted.at), dtype=torch.float64) / TIMES + 1e-9)


def losses_of(run: Run, batch: Batch) -> Tensor:
    """Each sample's mean squared error at each time, B T, fp32 on the CPU; masks count, weightings don't.

    The noise hangs on the validation's seed and the sample's number alone, nothing drops out, and no generator of
    training is touched, so that a run learns the same with and without validation.
    """
    with evaluating(run.model.parts):
        clean = batch.latents.to(run.device)
        with run.accelerator.autocast():
            conditions = run.conditions(batch, dropping=False)
        losses = []
        for place, time in enumerate(validation_times(run)):
            times = time.expand(len(clean)).to(run.device)
            noise = fixed_noise(run, batch, place)
            noisy = run.objective.add_noise(clean, noise, times)
            with run.accelerator.autocast():
                run.network.before_step(run.objective.level(times))
                prediction = run.family.predict(run.model, noisy, times, conditions)
            target = run.objective.target(clean, noise, times)
            losses.append(mean_errors(prediction, target, batch.mask))
    return torch.stack(losses, dim=1).cpu()


def fixed_noise(run: Run, batch: Batch, place: int) -> Tensor:
    """Noise like the latents for the how-manieth of the times."""
    seed = run.config.validation.seed
    noises = [
        torch.randn(latent.shape, generator=generator_for(seed, "validation noise", sample, place))
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
