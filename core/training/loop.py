"""The training loop, the only one: from a batch to changed weights, step by step."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from core.contracts import Batch
from core.dataset.draws import generator_for, seed_for
from core.errors import TrainingError

if TYPE_CHECKING:
    from core.training.setup import Run

SKIPS_ALLOWED = 20
"""Steps running that fp16's scaler may skip before the run is given up."""


@dataclass
class Progress:
    """Where a run stands. step: optimizer steps done. epoch, step_in_epoch: of the next step, from 0."""

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    skipped: int = 0

    def advance(self, steps_per_epoch: int) -> None:
        """One more step is done."""
        self.step += 1
        self.step_in_epoch += 1
        if self.step_in_epoch == steps_per_epoch:
            self.epoch, self.step_in_epoch = self.epoch + 1, 0

    def as_dict(self) -> dict[str, int]:
        """Plain numbers, for a backup."""
        return asdict(self)


@dataclass(frozen=True)
class StepResult:
    """loss: mean over the step's samples. gradient_norm: before clipping. images: samples in the step."""

    loss: float
    gradient_norm: float
    images: int
    learning_rates: dict[str, float]


def train_step(run: Run, progress: Progress) -> StepResult:
    """One optimizer step. TrainingError, with the weights untouched, if the loss or the gradient is not finite."""
    rates = run.set_learning_rates(progress.step)
    batches = run.batches.step(progress.epoch, progress.step_in_epoch)
    samples = run.samples_in_step(progress.epoch, progress.step_in_epoch)
    loss = 0.0
    for index, batch in enumerate(batches):
        last = index == len(batches) - 1
        with run.gradient_sync(last):
            torch.manual_seed(seed_for(run.seed, "dropout", progress.step, index))
            losses = sample_losses(run, batch) * batch.weights.to(run.device)
            run.accelerator.backward(losses.sum() * (run.accelerator.num_processes / samples))
        loss += check_loss(losses.detach(), batch, progress.step + 1)
    norm = apply_gradients(run, progress)
    progress.advance(run.plan.steps_per_epoch(progress.epoch))
    return StepResult(loss / samples, norm, samples, rates)


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
    losses = (prediction.float() - target.float()).square().flatten(1).mean(1)
    for weighting in run.config.weightings:
        losses = losses * weighting.weights(run.objective, times)
    return losses


def draw_noise(run: Run, batch: Batch) -> tuple[Tensor, Tensor]:
    """Noise like the latents, and times, B. Each sample's are a function of the seed and of the sample's number alone."""
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


def check_loss(losses: Tensor, batch: Batch, step: int) -> float:
    """The sum of the losses. TrainingError, naming the pictures, if one is not finite."""
    total = float(losses.sum())
    if math.isfinite(total):
        return total
    names = [name for name, loss in zip(batch.names, losses.tolist(), strict=True) if not math.isfinite(loss)]
    raise TrainingError(
        f"The loss became {total} at step {step}, with {', '.join(names or batch.names)}.",
        "The weights were not touched by this step.",
        "Look at these pictures; lower the learning rate; or use bf16 or fp32 if the precision is fp16.",
    )


def apply_gradients(run: Run, progress: Progress) -> float:
    """Clip, check, and let the optimizer step. The gradients' norm before clipping."""
    scaler = run.accelerator.scaler
    if scaler is not None:
        scaler.unscale_(run.optimizer)
    limit = run.config.training.max_grad_norm or math.inf
    norm = float(clip_grad_norm_(run.parameters, limit))
    if math.isfinite(norm):
        progress.skipped = 0
        run.optimizer.step()
        run.network.after_step()
    else:
        progress.skipped += 1
        if scaler is None or progress.skipped == SKIPS_ALLOWED:
            raise TrainingError(
                f"The gradient became {norm} at step {progress.step + 1}.",
                "The weights were not touched by this step.",
                "Lower the learning rate; or use bf16 or fp32 if the precision is fp16.",
            )
    if scaler is not None:
        scaler.update()  # a smaller scale after a skipped step
    run.optimizer.zero_grad(set_to_none=True)
    return norm
