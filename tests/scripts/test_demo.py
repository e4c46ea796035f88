"""`./run-cmd.sh demo`: what it leaves behind, and that it learned the new thing without losing the old ones."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from core.config.lora import LoraConfig
from core.config.toml_file import read_config
from core.contracts import Framing, Model, Network, Size
from core.dataset.draws import generator_for
from core.dataset.manifest import Entry
from core.dataset.pictures import fit, load_picture
from core.dataset.views import View
from core.registry import registry
from core.training.networks import Networks
from core.training.run_folder import RunFolder, read_backup_network
from core.training.setup import layers_of

ROOT = Path(__file__).parents[2]
TIMES = torch.arange(50, 1000, 100)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo run, carried out as the user does."""
    folder = tmp_path_factory.mktemp("demo") / "run"
    command = [sys.executable, "-m", "scripts.demo", "--workspace", str(folder)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    for told in ("glim.safetensors", "comparison.png", "tensorboard", "run.toml"):
        assert told in run.stdout
    return folder


def test_it_leaves_what_it_promises(workspace: Path) -> None:
    assert (workspace / "output" / "glim.safetensors").stat().st_size > 10_000
    assert list((workspace / "tensorboard").glob("events.out.tfevents.*"))
    config = read_config(LoraConfig, workspace / "run.toml")
    with Image.open(workspace / "comparison.png") as picture:
        assert picture.height > picture.width / 2  # a row for each prompt, a column before, a column after
    assert len(config.sampling.prompts) >= 4


def test_it_learned_the_new_and_kept_the_old(workspace: Path) -> None:
    """On held-out pictures, with fixed noise and times: the new falls by 30 %, the old rises by 25 % at most."""
    model, network = trained(workspace)
    changes = {}
    for kind in ("glim", "shapes"):
        after = denoising_loss(model, ROOT / "demo" / "held_out" / kind)
        with network.disabled():
            before = denoising_loss(model, ROOT / "demo" / "held_out" / kind)
        changes[kind] = after / before - 1
    print(json.dumps(changes))
    assert changes["glim"] <= -0.30
    assert changes["shapes"] <= 0.25


def trained(workspace: Path) -> tuple[Model, Network]:
    """The demo model with what the run learned attached."""
    config = read_config(LoraConfig, workspace / "run.toml")
    family = registry("families").get("sd15")()
    model = family.load(ROOT / "demo" / "model", ["denoiser", "vae", "text_1"], {})
    parts = {part: layers_of(family, part) for part in config.parts.trained()}
    network = Networks([config.networks[0].attach(model, parts)])
    backup = RunFolder(workspace).latest_backup()
    assert backup is not None
    network.load_state(read_backup_network(backup))
    return model, network


@torch.no_grad()
def denoising_loss(model: Model, folder: Path) -> float:
    """Mean squared error of the predicted noise over a folder's pictures, at every time of TIMES."""
    family = registry("families").get("sd15")()
    objective = family.objective(model)
    losses = []
    for pixels, caption in pairs(folder):
        clean = family.encode_images(model, pixels[None]).expand(len(TIMES), -1, -1, -1)
        noise = torch.randn(clean.shape, generator=generator_for(0, "held out", len(losses)))
        encoded = [{"text_1": family.encode_text(model, "text_1", [caption])[0]}] * len(TIMES)
        framings = [Framing((64, 64), (0, 0), (64, 64))] * len(TIMES)
        noisy = objective.add_noise(clean, noise, TIMES)
        prediction = family.predict(model, noisy, TIMES, family.collate(encoded, framings))
        losses.append(float((prediction - objective.target(clean, noise, TIMES)).square().mean()))
    return sum(losses) / len(losses)


def pairs(folder: Path) -> Iterator[tuple[torch.Tensor, str]]:
    """Pixels (3 64 64) and captions."""
    for path in sorted(folder.glob("*.png")):
        caption = path.with_suffix(".txt").read_text(encoding="utf-8").strip()
        assert caption
        picture, bucket = load_picture(path), Size(64, 64)
        entry = Entry(str(path), "", picture.width, picture.height, (caption,), 0, (bucket,), path.name)
        yield fit(picture, entry, View(bucket)), caption
