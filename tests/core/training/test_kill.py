"""A run that is killed, at whatever moment, goes on from its last backup and ends as if it never had been."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from core.config.lora import LoraConfig
from core.config.toml_file import set_values
from core.dataset.manifest import Manifest
from core.manager.config_generator import ConfigGenerator
from core.manager.profile_manager import ProfileManager
from core.settings.checks import load
from core.training.curves import curves_of
from core.training.events import ENDS, Event, Finished, Phase, Sampled, Step, Validated, read_events

pytestmark = pytest.mark.slow

Moment = tuple[str, str] | Callable[[list[Event]], bool]
"""When a run is killed: before it does this to a file (an audit event of Python's, and a part of the path), or once
its events say so."""

# Runs trainings. The first one runs in this process, so that everything is imported; each later one in a copy of it,
# which takes milliseconds, and is killed before an operation on a file that it was told of.
SERVER = """
import json, os, signal, sys, threading
from pathlib import Path
import scripts.train
from core.config.lora import LoraConfig
from core.config.toml_file import read_config
from core.training.run_folder import RunFolder

def session(config, workspace):
    from core.training.session import run_session
    folder = RunFolder(Path(workspace))
    with folder.lock():
        folder.claim(read_config(LoraConfig, Path(config)))
        run_session(read_config(LoraConfig, folder.config_path), folder)
    return 0

def run(config, workspace, whole):
    if whole:  # the command, with all its checks
        status = scripts.train.main(["--config-path", config, "--workspace", workspace])
        for thread in threading.enumerate():
            if thread.name.startswith("run "):
                thread.join()  # it may still hold this process's turn, which a copy would wait for in vain
        return status
    return session(config, workspace)

def die_before(operation, part):
    def hook(event, arguments):
        if event == operation and any(part in str(argument) for argument in arguments):
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for line in sys.stdin:
    task = json.loads(line)
    if task["fork"]:
        pid = os.fork()
        if not pid:
            if task["moment"]:
                die_before(*task["moment"])
            os._exit(run(*task["run"]))
        print(pid, file=answers, flush=True)
        status = os.waitpid(pid, 0)[1]
    else:
        status = run(*task["run"])
    print(status, file=answers, flush=True)
"""


class Server:
    """Runs trainings in processes that may be killed."""

    def __init__(self) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", SERVER]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def _ask(self, run: list[Any], fork: bool, moment: Any = None) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"fork": fork, "run": run, "moment": moment}) + "\n")
        self.process.stdin.flush()

    def _answer(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def train(self, config: Path, workspace: Path, whole: bool = True) -> None:
        """A run from its start to its end."""
        self._ask([str(config), str(workspace), whole], fork=False)
        assert self._answer() == 0

    def kill(self, config: Path, workspace: Path, moment: Moment, whole: bool = True) -> None:
        """Start a run, or go on with it, and kill it at a moment."""
        outside = callable(moment)
        self._ask([str(config), str(workspace), whole], fork=True, moment=None if outside else moment)
        pid = self._answer()
        late = time.monotonic() + 120
        while outside and not moment(read_events(workspace / "events.jsonl")[0]):
            assert time.monotonic() < late, "the moment doesn't come"
            time.sleep(0.001)
        if outside:
            os.kill(pid, signal.SIGKILL)
        assert self._answer() == signal.SIGKILL, f"the run wasn't killed: {moment}"

    def finish(self, config: Path, workspace: Path, whole: bool = True) -> None:
        """Go on with a run to its end."""
        self._ask([str(config), str(workspace), whole], fork=True)
        self._answer()
        assert self._answer() == 0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.process.kill()
    found.process.wait()


def after(step: int) -> Moment:
    """Right after a step."""
    return lambda events: any(isinstance(event, Step) and event.step >= step for event in events)


def assert_same_end(one: Path, other: Path) -> None:
    """Two workspaces whose runs ended with the same weights, in the LoRA and in the backup, and optimizer state."""
    outputs = [load_file(path / "output" / "my_lora.safetensors") for path in (one, other)]
    assert_equal(*outputs)
    backups = [max((path / "backups").glob("step-*")) for path in (one, other)]
    assert backups[0].name == backups[1].name
    assert_equal(*(load_file(path / "network.safetensors") for path in backups))
    assert_equal(*(torch.load(path / "optimizer.pt", weights_only=True) for path in backups))


def assert_equal(one: Any, other: Any) -> None:
    """Equal to the last bit, however deep."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_equal(one[name], other[name])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_equal(a, b)
    else:
        assert one == other


def assert_same_record(one: Path, other: Path) -> None:
    """Two workspaces whose runs told the same curves, and left the same files."""
    curves = [[curves_of(event) for event in read_events(path / "events.jsonl")[0]] for path in (one, other)]
    assert [without_speed(row) for row in curves[0] if row] == [without_speed(row) for row in curves[1] if row]
    names = [sorted(path.name for path in folder.glob("output/*")) for folder in (one, other)]
    assert names[0] == names[1]
    for name in names[0]:
        assert_equal(*(load_file(folder / "output" / name) for folder in (one, other)))


def without_speed(curves: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in curves.items() if not name.startswith(("speed/", "memory/"))}


def dtypes_in(state: Any) -> set[torch.dtype]:
    if isinstance(state, torch.Tensor):
        return {state.dtype}
    inner = state.values() if isinstance(state, dict) else state if isinstance(state, list) else ()
    return set().union(*(dtypes_in(one) for one in inner))


def assert_reads_as_one_run(workspace: Path, steps: int, samples: list[int]) -> None:
    events = read_events(workspace / "events.jsonl")[0]
    assert [event.step for event in events if isinstance(event, Step)] == list(range(1, steps + 1))
    assert [event.step for event in events if isinstance(event, Sampled)] == samples
    assert [type(event) for event in events if isinstance(event, ENDS)] == [Finished]
    assert [*workspace.rglob(".*"), *workspace.rglob("*.part")] == [], "something half-written was left behind"


EVERYTHING_AT_RANDOM: dict[str, Any] = {
    "parts": {"denoiser": {"learning_rate": 1.0}, "text_1": {"train": True, "learning_rate": 1.0}},
    "concept": {
        "image_variations": 2,
        "text_variations": 3,
        "repeats": 0.7,
        "image": {
            "flip": "random",
            "crop_jitter": True,
            "rotate": "random",
            "brightness": "random",
            "contrast": "random",
            "saturation": "random",
            "hue": "random",
            "mask": "file",
            "unmasked_probability": 0.5,
            "detail_crops": {
                "enabled": True,
                "tile_resolution": 64,
                "overlap": 16,
                "scales": [1],
                "include_context_tiles": True,
                "regenerate_each_epoch": True,
                "blank_std_threshold": 0.0,
            },
        },
        "text": {"shuffle_tags": True, "keep_tags": 1, "caption_dropout": 0.2, "tag_dropout": "random"},
    },
    "more_concepts": [
        {"name": "known", "kind": "regularisation", "samples_per_epoch": 2, "image": {"flip": "random"}},
        {"name": "kept", "kind": "prior_prediction", "repeats": 0.4, "resolution": "96"},
        {"name": "held out", "kind": "validation"},
    ],
    "buckets": {"resolution": "128, 96", "minimum": 64, "step": 32},
    "networks": [{"name": "lora", "rank": 4, "alpha": 2, "dropout": 0.1, "rank_dropout": 0.1, "module_dropout": 0.1}],
    "training": {"epochs": 2, "train_batch_size": 2, "gradient_accumulation_steps": 2},
    "optimizer": {"name": "prodigy"},
    "schedule": {"name": "cosine", "warmup_steps": 3},
    "noise": {"noise_offset": 0.05, "multires_noise_iterations": 2, "ip_noise_gamma": 0.1},
    "times": {"name": "logit_normal", "strata": 4},
    "ema": {"where": "cpu", "decay": 0.9, "update_every": 2},
    "validation": {"share": 0.2, "every": "3 steps", "save_best": True},
    "logging": {"every_n_steps": 3},
    "sampling": {"prompts": [{"prompt": "{trigger}", "width": 64, "height": 64}], "steps": 1, "every": "1 epoch"},
    "saving": {"backup_every": "2 steps", "every": "3 steps", "keep_last": 1},
}


def test_killed_at_many_moments_it_ends_as_if_it_never_had_been(
    server: Server, run_toml: Callable[..., Path], pictures: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(pictures, tmp_path / "masked"))
    for path in folder.glob("*.png"):  # other pictures than those of the other concepts, so that some can be held out
        with Image.open(path) as picture:
            picture.convert("RGB").rotate(180).save(path)
    for name, size in (("0", (128, 128)), ("1", (256, 64))):
        Image.linear_gradient("L").resize(size).save(folder / f"{name}-masklabel.png")
    concept = {**EVERYTHING_AT_RANDOM["concept"], "folder": str(folder)}
    config = run_toml("sd15", {**EVERYTHING_AT_RANDOM, "concept": concept})
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    server.train(config, whole)
    assert_reads_as_one_run(whole, 12, [0, 6, 12])
    (tmp_path / "cache").rename(tmp_path / "cache of the other")

    moments: list[Moment] = [
        ("os.rename", "run.toml"),
        ("os.rename", "latents"),
        lambda events: any(isinstance(event, Phase) and event.done >= 3 for event in events),  # caching
        after(1),
        ("open", ".writing-step-00000002/progress.json"),  # a half-written backup, before there is a whole one
        ("os.rename", ".writing-step-00000002"),
        ("open", "killed/backups"),  # the backup is whole, and nobody was told
        after(3),
        ("open", ".writing-step-00000004/progress.json"),  # a half-written one beside a whole one
        ("os.remove", "optimizer.pt"),  # the old backup, being deleted
        ("os.rename", "step-00000012"),  # the last backup
        ("os.rename", "my_lora.safetensors"),  # the result
    ]
    for moment in moments:
        server.kill(config, killed, moment)
        assert not (killed / "output" / "my_lora.safetensors").exists()
    server.finish(config, killed)
    assert_same_end(whole, killed)
    assert_same_record(whole, killed)
    assert_reads_as_one_run(killed, 12, [0, 6, 12])
    measured = [event for event in read_events(killed / "events.jsonl")[0] if isinstance(event, Validated)]
    assert [event.step for event in measured] == [3, 6, 9, 12]
    assert all(event.losses.keys() == {"balls", "held out"} and event.ema_losses for event in measured)


def test_the_demo_with_large_pictures_and_every_change_on_is_killed_too(server: Server, tmp_path: Path) -> None:
    config = demo_with_everything(tmp_path)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    server.train(config, whole, whole=False)
    (tmp_path / "cache").rename(tmp_path / "cache of the other")
    for moment in (("os.rename", "latents"), after(1), after(4), ("os.rename", ".writing-step-00000006")):
        server.kill(config, killed, moment, whole=False)
    server.finish(config, killed, whole=False)
    assert_same_end(whole, killed)
    assert_reads_as_one_run(killed, 8, [])
    shown = Manifest.from_json((killed / "manifest.json").read_text(encoding="utf-8")).entries
    assert {len(entry.buckets) for entry in shown} == {1, 2}
    assert sum(entry.tile is not None for entry in shown) > 10
    assert {entry.concept for entry in shown} == {0, 1}


def demo_with_everything(folder: Path) -> Path:
    """The demo's profile on its own model, with its pictures three times as large, masked, cut and changed."""
    for source in (Path("demo/pictures"), Path("demo/regularisation")):
        own = folder / source.name
        own.mkdir()
        for path in sorted(source.glob("*.png"))[:6]:
            with Image.open(path) as picture:
                picture.resize((picture.width * 3, picture.height * 3)).save(own / path.name)
                mask = Image.radial_gradient("L").resize((picture.width * 3, picture.height * 3))
            mask.save(own / f"{path.stem}-masklabel.png")
            shutil.copy(path.with_suffix(".txt"), own)
    everything = EVERYTHING_AT_RANDOM["concept"]
    profiles = ProfileManager()
    data, _ = profiles.apply(profiles.get("training", "demo"), ConfigGenerator().default())
    data["concepts"][0] |= {**everything, "repeats": 1.0, "folder": str(folder / "pictures")}
    data["concepts"][1] |= {**everything, "samples_per_epoch": 5, "folder": str(folder / "regularisation")}
    data = set_values(
        data,
        {
            "buckets.resolution": "64, 80",
            "memory.precision": "fp32",
            "memory.cache_dir": str(folder / "cache"),
            "training.max_steps": 8,
            "training.train_batch_size": 4,
            "saving.name": "my_lora",
            "saving.backup_every": "2 steps",
            "sampling.prompts": [],
            "logging.tensorboard": False,
        },
    )
    return ConfigGenerator().write(load(LoraConfig, data), folder / "demo.toml")


def test_8_bit_state_and_cached_captions_survive_a_kill(
    server: Server, run_toml: Callable[..., Path], tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    changes = {
        "optimizer": {"name": "adamw8bit", "min_8bit_size": 1},
        "schedule": {"name": "cosine_with_restarts", "cycles": 2},
        "training": {"max_steps": 5},
        "saving": {"backup_every": "2 steps", "keep_backups": 2},
    }
    config = run_toml("sdxl", changes)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    # whole=False: without the command's trial of bitsandbytes in a process of its own, which takes long
    server.train(config, whole, whole=False)
    (tmp_path / "cache").rename(tmp_path / "cache of the other")
    for moment in (("os.rename", "/text/"), after(3), ("os.rename", ".writing-step-00000004")):
        server.kill(config, killed, moment, whole=False)
    server.finish(config, killed, whole=False)
    assert_same_end(whole, killed)
    assert_reads_as_one_run(killed, 5, [])
    kept = torch.load(killed / "backups" / "step-00000005" / "optimizer.pt", weights_only=True)
    assert torch.uint8 in dtypes_in(kept)
