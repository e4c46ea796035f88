"""The training loop, the only one: from a batch to changed weights, step by step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from core.config.sections.metadata import LAST_SAMPLE
from core.dataset.draws import key_for
from core.devices import used_host_memory
from core.devices.torch_device import peak_memory, sent
from core.errors import OchreError, TrainingError
from core.training.ema import weights_of
from core.training.events import BackedUp, Deleted, Finished, Message, Phase, Saved, Step, Stopped
from core.training.lora_file import write_lora
from core.training.losses import sample_losses
from core.training.model_card import write_model_card
from core.training.noise import draw_times
from core.training.planning import best_file
from core.training.previews import compare_samples, draw_samples
from core.training.stepping import Applied
from core.training.validation import validate

if TYPE_CHECKING:
    from core.training.setup import Run

SKIPS_ALLOWED = 20
"""Steps running that fp16's scaler may skip before the run is given up."""


@dataclass
class Progress:
    """Where a run stands.

    step: optimizer steps done. epoch, step_in_epoch: of the next step, from 0. skipped: steps running that changed
    nothing. best_step, best_loss: when what isn't learned was done best, and how well.
    """

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    skipped: int = 0
    best_step: int = 0
    best_loss: float | None = None

    def advance(self, steps_per_epoch: int) -> None:
        """One more step is done."""
        self.step += 1
        self.step_in_epoch += 1
        if self.step_in_epoch == steps_per_epoch:
            self.epoch, self.step_in_epoch = self.epoch + 1, 0

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, for a backup."""
        return asdict(self)


@dataclass(frozen=True)
class StepResult:
    """loss: mean over the step's samples. gradient_norm: before clipping. images: samples in the step.

    losses, levels: of each sample of this process, its loss and noise level (0 to 1).
    """

    loss: float
    gradient_norm: float
    images: int
    learning_rates: dict[str, float]
    losses: list[float]
    levels: list[float]


def train_step(run: Run, progress: Progress) -> StepResult:
    """One optimizer step. TrainingError, with the weights untouched, if the loss or the gradient is not finite."""
    rates = run.rates.set(progress.step)
    run.stepping.begin(progress.step)
    progress.epoch = run.plan.next_epoch(progress.epoch)
    batches = run.batches.step(progress.epoch, progress.step_in_epoch)
    samples = run.plan.epoch(progress.epoch)[progress.step_in_epoch].samples
    there: list[Tensor] = []
    names: list[str] = []
    levels: list[float] = []
    for index, batch in enumerate(batches):
        last = index == len(batches) - 1
        with run.gradient_sync(last):
            torch.manual_seed(key_for(run.seed, "dropout", progress.step, index))
            losses = sample_losses(run, batch) * sent(batch.weights, run.device)
            if run.stepping.steps_early:
                check_losses(losses.tolist(), batch.names, progress.step + 1)
            run.accelerator.backward(losses.sum() * (run.accelerator.num_processes / samples))
        there.append(losses.detach())
        names += batch.names
        levels += run.objective.level(draw_times(run, batch)).tolist()
    applied = run.stepping.finish(there)
    check_losses(applied.losses, names, progress.step + 1)
    take_in(run, progress, applied)
    progress.advance(run.plan.steps_per_epoch(progress.epoch))
    return StepResult(sum(applied.losses) / samples, applied.norm, samples, rates, applied.losses, levels)


def check_losses(losses: Sequence[float], names: Sequence[str], step: int) -> None:
    """TrainingError, naming the pictures, if a loss is not finite. The weights have not been touched then."""
    broken = {name: loss for name, loss in zip(names, losses, strict=True) if not math.isfinite(loss)}
    if broken:
        raise TrainingError(
            f"The loss became {next(iter(broken.values()))} at step {step}, with {', '.join(broken)}.",
            "The weights were not touched by this step.",
            "Look at these pictures; lower the learning rate; or use bf16 or fp32 if the precision is fp16.",
        )


def take_in(run: Run, progress: Progress, applied: Applied) -> None:
    """Tell who has to know that the weights changed. TrainingError if they didn't, as a gradient was not finite."""
    if applied.changed:
        progress.skipped = 0
        run.network.after_step()
        if run.ema:
            run.ema.after_step(progress.step + 1)
        return
    progress.skipped += 1
    if run.accelerator.scaler is None or progress.skipped == SKIPS_ALLOWED:
        raise TrainingError(
            f"The gradient became {applied.norm} at step {progress.step + 1}.",
            run.stepping.after_failure,
            "Lower the learning rate; or use bf16 or fp32 if the precision is fp16.",
        )


def train(run: Run, progress: Progress) -> None:
    """Train to the end, or until the user stops it; what is due on the way is measured, saved, drawn and backed up."""
    while progress.step < run.total_steps:
        one_step(run, progress)
        if run.validation_due(progress.step):
            measure_and_keep(run, progress)
        requests = run.folder.take_requests()
        save_and_draw(run, progress, requests)
        if "stop" in requests:
            stop(run, progress)
            return
        if run.backup_due(progress.step):
            back_up(run, progress)
    finish(run, progress)


def one_step(run: Run, progress: Progress) -> None:
    """Take a step and tell of it."""
    with run.speed.measured():
        result = train_step(run, progress)
    run.speed.add(result.images)
    run.report(step_event(run, progress, result))


def step_event(run: Run, progress: Progress, result: StepResult) -> Step:
    """What readers learn of a step."""
    left, speed = run.total_steps - progress.step, run.speed
    run.curves.add(result.loss, result.losses, result.levels)
    return Step(
        step=progress.step,
        epoch=run.epoch_of(progress.step),
        loss=result.loss,
        learning_rates=result.learning_rates,
        gradient_norm=result.gradient_norm,
        images=result.images,
        images_per_second=speed.images_per_second,
        seconds_left=left * speed.seconds_per_step,
        memory=peak_memory(run.device),
        host_memory=used_host_memory(),
        smooth_loss=run.curves.smooth_loss,
        more=run.curves.more(run, progress.step),
    )


def measure_and_keep(run: Run, progress: Progress) -> None:
    """Measure what isn't learned, and save the LoRA if it is the best so far and the user wants that one."""
    if validate(run, progress) and run.config.validation.save_best:
        save_if_possible(run, progress, run.destination / best_file(run.output_stem), "best")


def save_and_draw(run: Run, progress: Progress, requests: set[str]) -> None:
    """Save and draw what is due after this step, or was asked for. What fails here doesn't stop the run."""
    if progress.step < run.total_steps and (name := run.file_due(progress.step, "save" in requests)):
        save_if_possible(run, progress, run.destination / name, "asked" if "save" in requests else "due")
    if progress.step < run.total_steps and (run.sample_due(progress.step) or "sample" in requests):
        draw_samples(run, progress.step)


def save_if_possible(run: Run, progress: Progress, path: Path, why: str) -> None:
    """Save; what fails here doesn't stop the run."""
    try:
        save(run, progress, path, why)
    except OchreError as error:
        run.report(Message(level="warning", text=f"Not saved after step {progress.step}. {error}"))


def save(run: Run, progress: Progress, path: Path, why: str) -> str:
    """Write the LoRA, with what lies beside it, and tell; the path of the main file. why: see Saved."""
    run.report(Phase(title="Saving"))
    files: list[Path] = []
    for suffix, weights in weights_of(run.ema, run.config.ema.save):
        with run.stepping.evaluating(), weights:
            files += write_lora(run, path.with_stem(f"{path.stem}-{suffix}" if suffix else path.stem), progress)
    main, *beside = (str(file.absolute()) for file in files)
    saved = Saved(step=progress.step, path=main, why=why, beside=beside)
    run.report(saved)
    deleted, failed = run.kept.add(saved)
    if deleted:
        run.report(Deleted(step=progress.step, paths=deleted))
    for text in failed:
        run.report(Message(level="warning", text=f"Not deleted: {text}"))
    return main


def back_up(run: Run, progress: Progress) -> Path:
    """Write a backup and tell."""
    path = run.folder.write_backup(run.state(progress), run.config.saving.keep_backups)
    run.report(BackedUp(step=progress.step, path=str(path)))
    return path


def stop(run: Run, progress: Progress) -> None:
    """The user stopped the run: back up, and tell from where it can go on."""
    run.report(Stopped(step=progress.step, backup=str(back_up(run, progress))))


def finish(run: Run, progress: Progress) -> None:
    """Write the result. The backup comes first, so that a result that can't be written isn't lost."""
    back_up(run, progress)
    path, shown = run.destination / f"{run.output_stem}.safetensors", run.config.metadata.cover == LAST_SAMPLE
    if shown:  # the file holds one of them
        draw_samples(run, progress.step)
    result = save(run, progress, path, "end")
    if not shown:
        draw_samples(run, progress.step)
    compare_samples(run)
    write_model_card(run, Path(result), progress)
    run.report(Finished(step=progress.step, path=result))
