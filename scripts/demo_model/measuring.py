"""Looks at the finished demo model: its denoising loss on a folder of pictures, and a grid of its samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from PIL import Image, ImageDraw, ImageFont

PROMPTS = (
    "a red circle on a blue ground",
    "a yellow square on a purple ground",
    "a green triangle on a white ground",
    "a white ring on a black ground",
    "an orange cross on a green ground",
    "a purple heart on a yellow ground",
    "a blue circle on an orange ground",
    "a black square on a red ground",
    "a yellow triangle on a blue ground",
    "a red ring on a white ground",
    "a white cross on a red ground",
    "an orange heart on a black ground",
    "a small green circle on a yellow ground",
    "a large blue heart on a white ground",
    "purple ring, orange ground",
    "",
)
STEPS, GUIDANCE = 25, 4.0


@torch.no_grad()
def denoising_loss(pipeline: StableDiffusionPipeline, folder: Path, draws: int = 8) -> float:
    """Mean squared error of the predicted noise on a folder of captioned pictures, with fixed noise and times."""
    noise = torch.Generator().manual_seed(0)
    alphas = pipeline.scheduler.alphas_cumprod
    losses = []
    for path in sorted(folder.glob("*.png")):
        picture = np.asarray(Image.open(path).convert("RGB"), np.float32) / 127.5 - 1
        pixels = torch.from_numpy(picture).permute(2, 0, 1)[None]
        clean = pipeline.vae.encode(pixels).latent_dist.mean * pipeline.vae.config.scaling_factor
        text, _ = pipeline.encode_prompt(path.with_suffix(".txt").read_text(encoding="utf-8").strip(), "cpu", 1, False)
        times = ((torch.arange(draws) + 0.5) * len(alphas) / draws).long()
        target = torch.randn((draws, *clean.shape[1:]), generator=noise)
        alpha = alphas[times].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * target
        predicted = pipeline.unet(noisy, times, text.expand(draws, -1, -1)).sample
        losses.append((predicted - target).square().mean().item())
    return float(np.mean(losses))


def sample(pipeline: StableDiffusionPipeline, prompts: Sequence[str], seed: int) -> list[Image.Image]:
    """One picture for each prompt; the noise of a picture depends on its place only."""
    generators = [torch.Generator().manual_seed(seed + index) for index in range(len(prompts))]
    return pipeline(
        list(prompts), num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generators, height=64, width=64
    ).images  # type: ignore[union-attr]


def grid(pictures: Sequence[Image.Image], words: Sequence[str], columns: int = 4) -> Image.Image:
    """The pictures in rows, each with its caption under it."""
    width, height, line = 200, 128 + 26, 18
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (width * columns, height * rows + 8), "white")
    pencil, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for index, (picture, caption) in enumerate(zip(pictures, words, strict=True)):
        left, top = width * (index % columns), height * (index // columns) + 8
        picture = picture.resize((128, 128), Image.Resampling.BICUBIC)
        sheet.paste(picture, (left + (width - picture.width) // 2, top))
        place = (left + width // 2, top + 128 + line // 2)
        pencil.text(place, caption or "(no prompt)", fill="black", font=font, anchor="mm")
    return sheet
