"""Makes the built-in demo: draws its pictures, trains its model from nothing, and writes both into a folder."""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers import CLIPTextModel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.demo_model import folders, measuring, networks, training
from scripts.demo_model.tokenizer import make_tokenizer

AUTOENCODER_STEPS, REFINING_STEPS, LAST_STEPS = 2000, 900, 2600
PICTURES = 4096  # that the UNet learns from in each of the first phases; in the last, twice as many


def main() -> None:
    """Reads the arguments, trains the model and writes the demo folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="the folder to write")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0, help="of all steps and pictures: 0.01 tries the script out")
    parser.add_argument(
        "--checkpoints",
        type=Path,
        default=Path(tempfile.gettempdir()) / "ochre_demo_model",
        help="where the half-trained model is kept",
    )
    parser.add_argument("--model", type=Path, help="a folder that this script trained: only write the demo from it")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the order of sums, and so the result, depends on the number of threads
    write_demo(options.out, options.model or train(options), options.seed)


def train(options: argparse.Namespace) -> Path:
    """Trains the model; returns its folder among the checkpoints, with the figures of the training in it."""

    def share(number: int) -> int:
        return math.ceil(number * options.share)

    torch.manual_seed(options.seed)
    start = time.monotonic()
    tokenizer = make_tokenizer()
    vae, unet = networks.make_autoencoder(), networks.make_unet()
    text_encoder = networks.make_text_encoder(tokenizer)
    for name, part in (("autoencoder", vae), ("text encoder", text_encoder), ("UNet", unet)):
        say(f"{name}: {networks.count_weights(part) / 1e6:.2f} M weights")
    figures: dict[str, float] = {}
    training.train_autoencoder(vae, share(AUTOENCODER_STEPS), options.seed, say)
    vae.requires_grad_(False)
    folder = options.checkpoints

    def save(text_encoder: CLIPTextModel, unet: UNet2DConditionModel) -> None:
        networks.make_pipeline(vae, text_encoder, tokenizer, unet).save_pretrained(folder)

    def run_phase(phase: training.Phase, pictures: int) -> None:
        nonlocal text_encoder, unet
        latents = training.encode_pictures(vae, pictures, phase)
        text_encoder, unet, figures["loss"] = training.train_denoiser(
            (text_encoder, tokenizer, unet), latents, vae.config["scaling_factor"], phase, say, save
        )
        figures["pictures_shown"] = figures.get("pictures_shown", 0) + phase.steps * phase.batch

    training.scale_latents(vae, training.LARGE_SIZES[0], options.seed)
    for phase in training.first_phases(options.seed):
        run_phase(replace(phase, steps=share(phase.steps)), share(PICTURES))
    vae.requires_grad_(True)
    figures["autoencoder_loss"] = training.refine_autoencoder(vae, share(REFINING_STEPS), options.seed, say)
    vae.requires_grad_(False)
    training.scale_latents(vae, training.SIZES[0], options.seed)
    run_phase(training.last_phase(share(LAST_STEPS), options.seed), share(2 * PICTURES))
    save(text_encoder, unet)
    say(f"trained in {(time.monotonic() - start) / 60:.0f} minutes")
    (folder / "figures.json").write_text(json.dumps(figures), encoding="utf-8")
    return folder


def write_demo(out: Path, model: Path, seed: int) -> None:
    """Writes the model at half precision, the picture folders, the grid of samples and the README."""
    networks.save_small(networks.load_pipeline(model), out / "model")
    folders.write_folders(out, seed)
    pipeline = networks.load_pipeline(out / "model")  # what the user gets, not what was trained
    pictures = measuring.sample(pipeline, measuring.PROMPTS, seed)
    measuring.grid(pictures, measuring.PROMPTS).quantize(256).save(out / "samples.png", optimize=True)
    losses = [measuring.denoising_loss(pipeline, out / "held_out" / name) for name in ("shapes", folders.TRIGGER)]
    figures = json.loads((model / "figures.json").read_text(encoding="utf-8"))
    folders.write_readme(out, figures, losses[0], losses[1])
    say(f"{out}: denoising loss {losses[0]:.4f} on the shapes, {losses[1]:.4f} on the {folders.TRIGGER}")


def say(line: str) -> None:
    """One line of progress on the terminal."""
    print(line, flush=True)


if __name__ == "__main__":
    main()
