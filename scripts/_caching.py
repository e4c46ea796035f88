"""The benchmark of what feeds the loop: caching against encoding one picture at a time, and the wait for batches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from core.config.lora import LoraConfig
from core.dataset.cache import Cache
from core.dataset.encoders import ImageEncoder, chunks, encode_pictures
from core.dataset.filling import fill_latents
from core.dataset.pixels import read_pixels
from core.dataset.settings import Buckets, Concept
from core.dataset.survey import survey
from core.dataset.views import Shown, View
from core.registry import registry
from core.settings.checks import load

DEMO = Path("demo")
SYNTHETIC = 500
SHORTEST, LONGEST = 512, 2048
ROUND, DEMO_ROUNDS = 100, 20
"""Pictures of the synthetic ones that each side encodes in turn; how often each encodes the demo's."""

RESOLUTIONS = {"cpu": 256, "cuda": 512}
"""At which the synthetic pictures are encoded."""

CACHING_LIMITS = {"cpu": 1.0, "cuda": 2.0}
"""How many times as fast as one at a time it has to be."""

WAITING_LIMIT = 0.03
"""Share of a step's time."""

BATCH_SIZES = {"cpu": 1, "cuda": 4}
"""As in the memory profiles for a CPU and for GPUs of 24 GB and more."""


def compare_caching(vae: str, synthetic: int, folder: Path) -> int:
    """Measure both sets of pictures and print a line for each. 1 if one is below its limit."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    encoder = image_encoder(vae, device)
    write_photographs(folder / "synthetic", synthetic)
    demo = [*shown_in(DEMO / "pictures", 64), *shown_in(DEMO / "regularisation", 64)]
    rounds = {
        "the demo's pictures": [demo] * DEMO_ROUNDS,
        f"{synthetic} pictures of {SHORTEST} to {LONGEST} px at {RESOLUTIONS[device]} px": list(
            chunks(shown_in(folder / "synthetic", RESOLUTIONS[device]), ROUND)
        ),
    }
    return max([compare_set(title, turns, encoder, folder / "caches") for title, turns in rounds.items()])


def compare_set(title: str, rounds: Sequence[Sequence[Shown]], encoder: ImageEncoder, folder: Path) -> int:
    """Both sides in turn, round by round, each into a new cache; prints what was measured."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    sides: dict[str, Callable[[Sequence[Shown], Cache], None]] = {
        "together": lambda shown, cache: _checked(fill_latents(shown, cache, encoder)),
        "one at a time": lambda shown, cache: one_at_a_time(shown, cache, replace(encoder, batch_size=1)),
    }
    for side in sides.values():  # the first pictures warm up
        side(rounds[0][:4], Cache(folder / "warm"))
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for number, shown in enumerate(rounds):
        for side in list(sides)[:: -1 if number % 2 else 1]:
            begin = time.perf_counter()
            sides[side](shown, Cache(folder / f"{title} {side} {number}"))
            seconds[side].append(time.perf_counter() - begin)
    pictures = sum(map(len, rounds))
    ratios = [slow / quick for quick, slow in zip(*seconds.values(), strict=True)]
    ratio, limit = statistics.median(ratios), CACHING_LIMITS[device]
    print(
        f"caching {title} on {device}: {pictures / sum(seconds['together']):.1f} images/s against "
        f"{pictures / sum(seconds['one at a time']):.1f} one at a time, {ratio:.2f} times as fast "
        f"(median of {len(ratios)} rounds, {min(ratios):.2f} to {max(ratios):.2f}; "
        f"batches of {encoder.batch_size}; at least {limit}): {'ok' if ratio >= limit else 'TOO SLOW'}"
    )
    return int(ratio < limit)


def one_at_a_time(shown: Sequence[Shown], cache: Cache, encoder: ImageEncoder) -> None:
    """Read a picture, encode it, write it; then the next."""
    for one in shown:
        tensors = encode_pictures([read_pixels(one)], [one], encoder)
        cache.put("latents", encoder.key(one), tensors[0])


def image_encoder(vae: str, device: str) -> ImageEncoder:
    """The demo's VAE, or one of SD 1.5's size with random weights."""
    family = registry("families").get("sd15")()
    model = family.load(DEMO / "model", [], {})
    module: Any = full_vae() if vae == "full" else family.load_vae(DEMO / "model", torch.float32)
    model.parts["vae"] = module.to(device)
    return ImageEncoder(lambda pixels: family.encode_images(model, pixels), vae, "fp32", BATCH_SIZES[device])


def full_vae() -> Any:
    """SD 1.5's VAE with 84 M random weights."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    config: Any = AutoencoderKL.load_config("core/families/configs/sd15/vae")
    vae: Any = AutoencoderKL.from_config(config)
    return vae.eval()


def shown_in(folder: Path, resolution: int) -> list[Shown]:
    """Every picture of a folder, as a run shows it."""
    concept = Concept(folder=str(folder))
    entries = survey([concept], Buckets(resolution=str(resolution), minimum=64)).entries
    return [Shown(entry, View(entry.buckets[0]), concept.image) for entry in entries]


def write_photographs(folder: Path, count: int) -> None:
    """Pictures with sides of 512 to 2,048 pixels that compress like photographs: JPEG, each fifth as PNG."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for number in range(count):
        width, height = (int(side) for side in np.exp(draw.uniform(np.log(SHORTEST), np.log(LONGEST), 2)))
        coarse = draw.integers(0, 256, (height // 32, width // 32, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:03d}.{'jpg' if number % 5 else 'png'}", quality=92, compress_level=1)


def measure_waiting(steps: int, folder: Path) -> int:
    """Train on the demo's pictures and print which share of the time is waiting for batches. 1: above the limit."""
    waited, seconds = sum_of(waits(steps, folder))
    share = waited / seconds
    verdict = "ok" if share <= WAITING_LIMIT else "TOO MUCH"
    print(
        f"waiting for batches: {share:.2%} of the time ({waited * 1000 / steps:.2f} of {seconds * 1000 / steps:.0f} ms "
        f"a step, {steps} steps of the demo model; limit {WAITING_LIMIT:.0%}): {verdict}"
    )
    return int(share > WAITING_LIMIT)


def waits(steps: int, folder: Path) -> Iterator[tuple[float, float]]:
    """For each step the seconds that it waited, and all its seconds."""
    from core.training.loop import Progress, one_step
    from core.training.run_folder import RunFolder
    from core.training.setup import set_up

    place = RunFolder(folder / "waiting")
    lock, config = place.lock(), demo_config(folder)
    try:
        place.claim(config)
        run, progress = set_up(config, place, place.report), Progress()
        with run.batches:
            for number in range(steps + 5):
                before, begin = run.batches.waited, time.perf_counter()
                one_step(run, progress)
                if number >= 5:  # the first steps warm up
                    yield run.batches.waited - before, time.perf_counter() - begin
    finally:
        lock.release()


def demo_config(folder: Path) -> LoraConfig:
    """The demo's pictures and batch size, cached."""
    concepts = [{"name": name, "folder": str(DEMO / name), "repeats": 100} for name in ("pictures", "regularisation")]
    data = {
        "base": {"source": str(DEMO / "model")},
        "parts": {"text_1": {"train": "no"}},
        "concepts": concepts,
        "buckets": {"resolution": "64", "minimum": 64},
        "training": {"train_batch_size": 4, "epochs": 1},
        "memory": {
            "precision": "bf16" if torch.cuda.is_available() else "fp32",
            "gradient_checkpointing": False,
            "cache_dir": str(folder / "cache"),
        },
        "logging": {"tensorboard": False},
    }
    return load(LoraConfig, data)


def sum_of(pairs: Iterator[tuple[float, float]]) -> tuple[float, float]:
    """The sums of the first and of the second numbers."""
    first, second = zip(*pairs, strict=True)
    return sum(first), sum(second)


def _checked(whole: bool) -> None:
    assert whole, "nobody asked it to stop"
