"""Trains the demo model from nothing: first the autoencoder on pictures, then text encoder and UNet on its latents."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from transformers import CLIPTextModel, CLIPTokenizer

from .networks import make_scheduler
from .pictures import LARGE_SIZES, SIZES, captions, clutter, draw, random_scene

Report = Callable[[str], None]
# The autoencoder learns colours first, on many small crops, and then edges: until this part of the steps, crops of
# this many pixels, so many at once.
CROPS = ((0.35, 16, 32), (0.65, 32, 16), (0.9, 64, 6), (1.0, 128, 2))
KL_WEIGHT = 1e-5
MIN_SNR_GAMMA = 5.0
EMPTY_CAPTIONS = 0.1  # part of the captions that are left empty, for classifier-free guidance


@dataclass(frozen=True)
class Phase:
    """A stretch of the UNet's training: `steps` of a rate that would be down after `whole`, and what it learns from."""

    steps: int
    whole: int
    words: bool  # high noise counts more, for there the words decide
    seed: int
    pictures: int  # the seed of its pictures
    freedom: float  # how much the pictures vary
    square: float  # the part of them that is square
    sizes: tuple[tuple[int, int], ...] = LARGE_SIZES
    batch: int = 16  # latents in a step


def first_phases(seed: int) -> tuple[Phase, ...]:
    """On large pictures it learns to denoise, and then what the words mean."""
    return (
        Phase(600, 1700, words=False, seed=seed, pictures=seed, freedom=1.0, square=0.5),
        Phase(900, 1100, words=True, seed=seed + 100, pictures=seed, freedom=1.0, square=0.5),
    )


def last_phase(steps: int, seed: int) -> Phase:
    """On small pictures, four times as many in a step, it learns to draw the shapes cleanly."""
    return Phase(
        steps, steps, words=True, seed=seed + 300, pictures=seed + 300, freedom=0.5, square=0.8, sizes=SIZES, batch=64
    )


@dataclass
class Latents:
    """Encoded pictures of one size: mean and deviation (N 4 h w), and the captions that each may have."""

    mean: torch.Tensor
    deviation: torch.Tensor
    captions: list[list[str]]


def train_autoencoder(vae: AutoencoderKL, steps: int, seed: int, report: Report) -> float:
    """Trains on small crops first, on whole pictures last; returns the mean L1 loss of the last 100 steps."""
    rng = np.random.default_rng([seed, 1])
    pictures = _pixels(_varied_pictures(3000, rng))
    weights = list(vae.parameters())
    optimizer, schedule = _optimizer(weights, 2e-3, steps)
    noise = torch.Generator().manual_seed(seed)
    recent: list[float] = []
    start = time.monotonic()
    for step in range(steps):
        side, number = next((side, number) for part, side, number in CROPS if step < part * steps)
        pixels = _crops(pictures[rng.choice(len(pictures), number)], side, rng)
        posterior = vae.encode(pixels).latent_dist  # type: ignore[union-attr]
        restored = vae.decode(posterior.sample(noise)).sample  # type: ignore[union-attr]
        recent.append((restored - pixels).detach().abs().mean().item())
        loss = _picture_loss(restored - pixels) + KL_WEIGHT * posterior.kl().mean() / posterior.mean[0].numel()
        _step(loss, optimizer, schedule, weights)
        if (step + 1) % 100 == 0:
            report(f"autoencoder {step + 1}/{steps}: L1 {np.mean(recent[-100:]):.4f}, {time.monotonic() - start:.0f} s")
    return float(np.mean(recent[-100:]))


def refine_autoencoder(vae: AutoencoderKL, steps: int, seed: int, report: Report) -> float:
    """Trains on whole small pictures, with noise on the latents, as samplers leave; returns the last mean L1 loss."""
    rng, noise = np.random.default_rng(seed + 10), torch.Generator().manual_seed(seed + 4)
    pictures = _pixels([draw(random_scene(rng, SIZES[0], freedom=0.7)) for _ in range(3000)])
    weights = list(vae.parameters())
    optimizer, schedule = _optimizer(weights, 1.2e-3, steps)
    recent: list[float] = []
    start = time.monotonic()
    for step in range(steps):
        pixels = pictures[rng.choice(len(pictures), 12)]
        posterior = vae.encode(pixels).latent_dist  # type: ignore[union-attr]
        latents = posterior.sample(noise)
        noisy = latents + 0.03 * latents.std() * torch.randn(latents.shape, generator=noise)
        restored = vae.decode(noisy).sample  # type: ignore[union-attr]
        recent.append((restored - pixels).detach().abs().mean().item())
        loss = _picture_loss(restored - pixels) + KL_WEIGHT * posterior.kl().mean() / posterior.mean[0].numel()
        _step(loss, optimizer, schedule, weights)
        if (step + 1) % 100 == 0:
            report(f"autoencoder {step + 1}/{steps}: L1 {np.mean(recent[-100:]):.4f}, {time.monotonic() - start:.0f} s")
    return float(np.mean(recent[-100:]))


@torch.no_grad()
def scale_latents(vae: AutoencoderKL, size: tuple[int, int], seed: int) -> None:
    """Sets the autoencoder's scaling factor so that latents have a deviation of 1."""
    rng = np.random.default_rng([seed, 6])
    pictures = _pixels([draw(random_scene(rng, size, freedom=0.7)) for _ in range(512)])
    means = [vae.encode(some).latent_dist.mean for some in pictures.split(32)]  # type: ignore[union-attr]
    vae.register_to_config(scaling_factor=1 / float(torch.cat(means).std()))


@torch.no_grad()
def encode_pictures(vae: AutoencoderKL, number: int, phase: Phase) -> list[Latents]:
    """Draws and encodes the pictures of a phase."""
    found: list[Latents] = []
    for index, size in enumerate(phase.sizes):
        rng = np.random.default_rng([phase.pictures, 2, index])
        count = round(number * (phase.square if index == 0 else (1 - phase.square) / (len(phase.sizes) - 1)))
        means, deviations, words = [], [], []
        for first in range(0, count, 16):
            scenes = [random_scene(rng, size, freedom=phase.freedom) for _ in range(min(16, count - first))]
            posterior = vae.encode(_pixels([draw(scene) for scene in scenes])).latent_dist  # type: ignore[union-attr]
            means.append(posterior.mean)
            deviations.append(posterior.std)
            words += [captions(scene) for scene in scenes]
        found.append(Latents(torch.cat(means), torch.cat(deviations), words))
    return found


def train_denoiser(
    parts: tuple[CLIPTextModel, CLIPTokenizer, UNet2DConditionModel],
    latents: list[Latents],
    scaling: float,
    phase: Phase,
    report: Report,
    save: Callable[[CLIPTextModel, UNet2DConditionModel], None],
) -> tuple[CLIPTextModel, UNet2DConditionModel, float]:
    """Trains text encoder and UNet together; returns their running averages and the last mean loss (unweighted)."""
    text_encoder, tokenizer, unet = parts
    trained = torch.nn.ModuleList([text_encoder, unet]).requires_grad_(True)
    average = copy.deepcopy(trained).requires_grad_(False)
    weights = list(trained.parameters())
    optimizer, schedule = _optimizer(weights, 1e-3, phase.whole)
    rng, noise = np.random.default_rng([phase.seed, 3]), torch.Generator().manual_seed(phase.seed + 1)
    alphas = make_scheduler().alphas_cumprod
    recent: list[float] = []
    start = time.monotonic()
    for step in range(phase.steps):
        clean, words = _draw_batch(latents, scaling, phase.batch, rng, noise)
        times = torch.randint(0, len(alphas), (len(clean),), generator=noise)
        target = torch.randn(clean.shape, generator=noise)
        alpha = alphas[times].view(-1, 1, 1, 1)
        tokens = tokenizer(words, padding="max_length", truncation=True, return_tensors="pt").input_ids
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * target
        predicted = unet(noisy, times, text_encoder(tokens).last_hidden_state).sample
        losses = (predicted - target).square().mean(dim=(1, 2, 3))
        recent.append(losses.mean().item())
        _step((losses * _noise_weight(alpha.flatten(), phase.words)).mean(), optimizer, schedule, weights)
        _follow(average, trained, min(0.998, (1 + step) / (10 + step)))
        if (step + 1) % 50 == 0:
            report(f"UNet {step + 1}/{phase.steps}: loss {np.mean(recent[-50:]):.4f}, {time.monotonic() - start:.0f} s")
        if (step + 1) % 300 == 0:
            save(average[0], average[1])  # type: ignore[arg-type]
    return average[0], average[1], float(np.mean(recent[-200:]))  # type: ignore[return-value]


def _noise_weight(alpha: torch.Tensor, words: bool) -> torch.Tensor:
    """Min-SNR; for the words also up to 30 times more at high noise, where they decide and the plain loss is small."""
    ratio = alpha / (1 - alpha)
    weight = ratio.clamp(max=MIN_SNR_GAMMA) / ratio
    return weight * (1 + 1 / ratio).clamp(max=30) if words else weight


def _draw_batch(
    latents: list[Latents], scaling: float, number: int, rng: np.random.Generator, noise: torch.Generator
) -> tuple[torch.Tensor, list[str]]:
    """Scaled latents of one size (B 4 h w) and their captions, some of them empty."""
    share = np.array([len(group.captions) for group in latents], float)
    group = latents[rng.choice(len(latents), p=share / share.sum())]
    chosen = rng.choice(len(group.captions), number)
    mean, deviation = group.mean[chosen], group.deviation[chosen]
    words = [group.captions[index][rng.integers(len(group.captions[index]))] for index in chosen]
    words = ["" if rng.random() < EMPTY_CAPTIONS else caption for caption in words]
    return (mean + deviation * torch.randn(mean.shape, generator=noise)) * scaling, words


def _optimizer(weights: list[torch.nn.Parameter], rate: float, steps: int) -> tuple[AdamW, LambdaLR]:
    """AdamW, with a warm-up of 100 steps and a cosine down to a hundredth of the rate."""

    def factor(step: int) -> float:
        warm = min(1.0, (step + 1) / 100)
        return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))

    optimizer = AdamW(weights, lr=rate, betas=(0.9, 0.99), weight_decay=1e-3)
    return optimizer, LambdaLR(optimizer, factor)


def _step(loss: torch.Tensor, optimizer: AdamW, schedule: LambdaLR, weights: list[torch.nn.Parameter]) -> None:
    assert torch.isfinite(loss), "the loss is not finite"
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()
    schedule.step()


@torch.no_grad()
def _follow(average: torch.nn.Module, trained: torch.nn.Module, decay: float) -> None:
    pairs = list(zip(average.parameters(), trained.parameters(), strict=True))
    torch._foreach_lerp_([a for a, _ in pairs], [b.detach() for _, b in pairs], 1 - decay)


def _varied_pictures(number: int, rng: np.random.Generator) -> list[np.ndarray]:
    size = LARGE_SIZES[0]
    return [draw(random_scene(rng, size, freedom=1)) if index % 2 else clutter(rng, size) for index in range(number)]


def _picture_loss(error: torch.Tensor) -> torch.Tensor:
    """Squared and absolute error, and the error of the edges."""
    return error.square().mean() + error.abs().mean() + 0.5 * _edges(error)


def _edges(error: torch.Tensor) -> torch.Tensor:
    """Mean difference between the errors of neighbouring pixels: a blurred edge costs."""
    return (error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()) / 2


def _crops(pixels: torch.Tensor, side: int, rng: np.random.Generator) -> torch.Tensor:
    """One random square of each picture (B 3 side side)."""
    crops = []
    for picture in pixels:
        top, left = (int(rng.integers(length - side + 1)) for length in picture.shape[1:])
        crops.append(picture[:, top : top + side, left : left + side])
    return torch.stack(crops)


def _pixels(pictures: list[np.ndarray]) -> torch.Tensor:
    """uint8 pictures (H W 3) as float32 from -1 to 1 (B 3 H W)."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
