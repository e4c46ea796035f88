"""The benchmark's two sides: our step, and a bare step written by hand on diffusers and peft."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from core.config.lora import LoraConfig
from core.settings.checks import load

DEMO = Path("demo/model")
SIDES = {"demo": 64, "50m": 128}
BATCH_SIZES = {"demo": 4, "50m": 2}
RANK = 8


@dataclass(frozen=True)
class Case:
    """What both sides train on."""

    config: LoraConfig
    base: Path
    folder: Path
    device: str
    batch_size: int


def benchmark_case(name: str, folder: Path) -> Case:
    """The model (the demo's, or one of 50 M random weights) and eight pictures of noise."""
    base = DEMO if name == "demo" else folder / "base"
    if name != "demo" and not base.exists():
        write_random_base(base)
    pictures = folder / "pictures"
    if not pictures.exists():
        write_pictures(pictures, SIDES[name])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data = {
        "base": {"source": str(base)},
        "parts": {"text_1": {"train": "no"}},
        "concepts": [{"name": "noise", "folder": str(pictures), "repeats": 1000}],
        "buckets": {"resolution": SIDES[name], "minimum": 64},
        "networks": [{"name": "lora", "rank": RANK, "alpha": RANK}],
        "training": {"train_batch_size": BATCH_SIZES[name], "epochs": 1},
        "schedule": {"name": "constant"},
        "memory": {"precision": "bf16" if device == "cuda" else "fp32", "gradient_checkpointing": False},
        "logging": {"tensorboard": False},
    }
    return Case(load(LoraConfig, data), base, folder, device, BATCH_SIZES[name])


def write_random_base(path: Path) -> None:
    """A pipeline of SD 1.5's architecture with a UNet of about 50 M random weights, in diffusers layout."""
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel

    demo = StableDiffusionPipeline.from_pretrained(DEMO, safety_checker=None, local_files_only=True)
    torch.manual_seed(0)
    config = {**demo.unet.config, "block_out_channels": (96, 192, 320, 320), "sample_size": 32, "layers_per_block": 2}
    config["down_block_types"] = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    config["up_block_types"] = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    demo.unet = UNet2DConditionModel.from_config(config)
    demo.save_pretrained(path)


def write_pictures(folder: Path, side: int) -> None:
    """Eight pictures of noise with captions, and masks for those who look for them."""
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    for index in range(8):
        pixels = torch.randint(0, 256, (side, side, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text(f"a red circle, number {index}")
        Image.linear_gradient("L").resize((side, side)).save(folder / f"{index}-masklabel.png")


def our_steps(case: Case) -> Callable[[], object]:
    """One step of Ochre's loop at each call, with all that a run does at a step."""
    from core.training.loop import Progress, one_step
    from core.training.run_folder import RunFolder, propose_workspace
    from core.training.setup import set_up

    folder = RunFolder(propose_workspace("benchmark", case.folder / "workspaces"))
    folder.lock()
    folder.claim(case.config)
    run, progress = set_up(case.config, folder, folder.report), Progress()
    return lambda: one_step(run, progress)


def bare_steps(case: Case) -> Callable[[], object]:
    """One step of the shortest correct loop at each call: latents and encodings in memory, AdamW, clipping."""
    from diffusers import DDPMScheduler, StableDiffusionPipeline
    from peft import LoraConfig as PeftConfig

    dtype = torch.bfloat16 if case.device == "cuda" else torch.float32
    pipe = StableDiffusionPipeline.from_pretrained(case.base, safety_checker=None, local_files_only=True).to(
        case.device
    )
    noise_schedule = DDPMScheduler.from_config(pipe.scheduler.config)
    batches = cycle(list(encoded_batches(pipe, case)))
    unet = pipe.unet.requires_grad_(False).to(dtype)
    targets = r".*\.attentions\.\d+\..*(to_q|to_k|to_v|to_out\.0|proj_in|proj_out|net\.0\.proj|net\.2)"
    unet.add_adapter(PeftConfig(r=RANK, lora_alpha=RANK, target_modules=targets))
    weights = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    for weight in weights:
        weight.data = weight.data.float()
    optimizer = torch.optim.AdamW(weights, lr=1e-4, weight_decay=0.01)
    unet.train()

    def step() -> float:
        latents, hidden = next(batches)
        noise = torch.randn_like(latents)
        times = torch.randint(0, 1000, (len(latents),), device=case.device)
        noisy = noise_schedule.add_noise(latents, noise, times)  # type: ignore[arg-type]
        with torch.autocast(case.device, dtype, enabled=case.device == "cuda"):
            prediction = unet(noisy, times, hidden).sample
        loss = torch.nn.functional.mse_loss(prediction.float(), noise.float())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


@torch.no_grad()
def encoded_batches(pipe: Any, case: Case) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Latents (B C h w) and hidden states (B 77 d) of the pictures, then frees the VAE and the text encoder."""
    import numpy

    paths = sorted((case.folder / "pictures").glob("[0-9].png"))
    for start in range(0, len(paths), case.batch_size):
        pixels, captions = [], []
        for path in paths[start : start + case.batch_size]:
            with Image.open(path) as picture:
                pixels.append(torch.from_numpy(numpy.array(picture)).permute(2, 0, 1) / 127.5 - 1)
            captions.append(path.with_suffix(".txt").read_text())
        latents = pipe.vae.encode(torch.stack(pixels).to(case.device)).latent_dist.mean * pipe.vae.config.scaling_factor
        tokens = pipe.tokenizer(captions, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
        yield latents, pipe.text_encoder(tokens.input_ids.to(case.device))[0]
    pipe.vae, pipe.text_encoder = None, None
