"""Every setting of a run changes something: the weights, the files or the record, as it says; one of cost nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw
from safetensors import safe_open

from core.config.lora import LoraConfig
from core.config.toml_file import to_toml
from core.families._saving import save_folder
from core.manager.training_executor import TrainingExecutor
from core.registry import registry
from core.settings import Settings, info
from core.settings.checks import load, plugin_kind
from core.settings.tree import table_classes
from core.training.events import Finished
from tests.core.training.setting_cases import CASES, ELSEWHERE, Case

TESTS = Path(__file__).parents[2]
COST = {
    "memory.gradient_checkpointing": "core/training/test_cost.py",
    "memory.fused_backward": "core/training/test_stepping.py",
    "concepts.0.image.detail_crops.parallel_workers": "core/dataset/tile_captions/test_tile_captions.py",
    "concepts.0.image.detail_crops.caption_timeout": "core/dataset/tile_captions/test_tile_captions.py",
    "concepts.0.image.detail_crops.caption_max_retries": "core/dataset/tile_captions/test_tile_captions.py",
}
"""Settings of cost -> the test that sees equal numbers, and the effect on memory or time."""

PER_RUN = ("uuid", "time", "date", "session_id", "started_at", "finished_at", "hash", "path", "backup")
"""Parts of the names of values that differ between two runs of one config, or that tell where the run is."""


def leaves(cls: type[Settings], path: str = "") -> Iterator[tuple[str, Any]]:
    """Path and field of each setting that is no plug-in's own."""
    for name, field in cls.model_fields.items():
        here = f"{path}.{name}" if path else name
        tables = [] if plugin_kind(cls, name) else table_classes(cls, name)
        if not tables and not plugin_kind(cls, name):
            yield here, field
        for table in tables:
            yield from leaves(table, f"{here}.0" if "list" in str(field.annotation) else here)


LEAVES = dict(leaves(LoraConfig))
NO_LEAVES = {"times.strata": "numbers", "sampling.prompts": "log"}
"""Cases of whole tables, and of a plug-in's setting that only a run shows -> what they affect."""


def test_each_setting_has_a_case() -> None:
    captioning = {path for path in LEAVES if ".detail_crops." in path and "caption" in path}
    known = CASES.keys() | ELSEWHERE.keys() | COST.keys() | captioning
    assert sorted(LEAVES.keys() - known) == [], "settings that no test changes"
    assert sorted(path for path in known - LEAVES.keys() if path not in NO_LEAVES) == []
    for path in (*ELSEWHERE.values(), *COST.values()):
        assert (TESTS / path).is_file(), path
    assert {path for path, field in LEAVES.items() if info(field).affects == "cost"} == COST.keys()


# -- the pictures and bases that the cases name


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("every")
    pictures, large = folder / "pictures", folder / "large"
    for path in (pictures / "inner", large):
        path.mkdir(parents=True)
    for index, size in enumerate([(128, 128), (192, 96), (128, 128), (96, 128)]):
        _draw(size, index).save(pictures / f"ball {index}.png")
        (pictures / f"ball {index}.txt").write_text(
            f"a ball, blue, {{round|flat}}|||b{index};;;small, number {index}\nof wood"
        )
        (pictures / f"ball {index}.caption").write_text(f"another caption, {index}")
    mask = Image.new("L", (128, 128))
    ImageDraw.Draw(mask).ellipse((10, 10, 60, 60), 255)
    mask.save(pictures / "ball 0-masklabel.png")
    _draw((128, 128), 7).convert("RGB").save(pictures / "ball 0-condlabel.png")
    _draw((128, 128), 9).save(pictures / "inner" / "ball 9.png")
    for index in range(2):
        _draw((400, 400), index).save(large / f"large {index}.png")
        (large / f"large {index}.txt").write_text("a large ball")
    texts = {
        "prompts": "a round thing",
        "other prompts": "a flat thing",
        "sample prompts": "a ball --w 32 --h 32 --s 2",
    }
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)
    for name in ("metadata", "other metadata"):
        entries = {str(pictures / f"ball {index}.png"): {"caption": f"{name} {index}"} for index in range(4)}
        (folder / f"{name}.json").write_text(json.dumps(entries))
    bases = {
        "sd15": save_folder(registry("families").get("sd15")().tiny(), folder / "sd15"),
        "sdxl": save_folder(registry("families").get("sdxl")().tiny(), folder / "sdxl"),
        "sd15 inpainting": save_folder(registry("families").get("sd15")().tiny("inpainting"), folder / "inpainting"),
        "other base": save_folder(_another(), folder / "other"),
    }
    return {
        "pictures": str(pictures), "large": str(large), **{name: str(path) for name, path in bases.items()},
        **{name: str(folder / f"{name}.txt") for name in texts},
        **{name: str(folder / f"{name}.json") for name in ("metadata", "other metadata")},
    }  # fmt: skip


def _draw(size: tuple[int, int], index: int) -> Image.Image:
    picture = Image.new("RGBA", size, (40 * index % 256, 120, 200, 160))
    draw = ImageDraw.Draw(picture)
    for ring in range(0, min(size) // 2, 12):
        draw.ellipse((ring // 2, ring, size[0] - ring // 3, size[1] - ring // 2), outline=(255 - ring, ring, 90, 255))
    return picture


def _another() -> Any:
    model = registry("families").get("sd15")().tiny()
    with torch.no_grad():
        for part in model.parts.values():
            for parameter in part.parameters():
                parameter *= 1.05
    return model


# -- one run, and what it left


Run = Callable[[Mapping[str, Any], str], dict[str, Any]]


@pytest.fixture(scope="module")
def run(places: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trains with some settings (path -> value) on a base, and tells what came of it; each config once."""
    folder = tmp_path_factory.mktemp("runs")
    count = 0

    @cache
    def trained(given: str, family: str) -> dict[str, Any]:
        nonlocal count
        count += 1
        here = folder / str(count)
        text = given.replace("{tmp}", str(here))
        for name, place in places.items():
            text = text.replace(f"{{{name}}}", place)
        start = {
            "base.source": places[family], "concepts.0.folder": places["pictures"], "concepts.0.trigger_word": "ohx",
            "concepts.0.name": "balls", "parts.text_1.train": "no", "parts.text_2.train": "no",
            "buckets.resolution": "128", "buckets.minimum": 64, "networks.0": {"name": "lora", "rank": 4, "alpha": 4.0},
            "training.epochs": 2, "training.max_steps": 2, "training.train_batch_size": 2, "memory.precision": "fp32",
            "memory.gradient_checkpointing": False, "memory.cache_dir": str(folder / "cache"), "saving.dtype": "fp32",
            "saving.workspace": str(here / "run"), "saving.backup_every": "never", "logging.tensorboard": False,
            "parts.denoiser.learning_rate": 1e-3, "optimizer.name": "adamw", "times.name": "uniform",
        }  # fmt: skip
        config = load(LoraConfig, nested({**start, **json.loads(text)}))
        here.mkdir()
        (here / "config.toml").write_text(to_toml(config), encoding="utf-8")
        job = TrainingExecutor().start(here / "config.toml")
        ending = job.wait(300)
        assert isinstance(ending, Finished), ending
        return outcome(job.workspace, Path(ending.path), here)

    return lambda given, family: trained(json.dumps(dict(given), sort_keys=True), family)


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Paths with dots and numbers as tables and lists."""
    data: dict[str, Any] = {}
    for path in sorted(values, key=lambda path: path.count(".")):
        keys = path.split(".")
        at: Any = data
        for key, following in pairwise(keys):
            at = _within(at, key, [] if following.isdecimal() else {})
        _within(at, keys[-1], None)
        at[int(keys[-1]) if isinstance(at, list) else keys[-1]] = deepcopy(values[path])
    return data


def _within(table: Any, key: str, fresh: Any) -> Any:
    if isinstance(table, dict):
        return table.setdefault(key, fresh)
    table += [{} for _ in range(int(key) + 1 - len(table))]
    return table[int(key)]


def outcome(workspace: Path, result: Path, here: Path) -> dict[str, Any]:
    """numbers: losses and weights. files: which, and what they say of themselves. log: what is recorded."""
    events = [json.loads(line) for line in (workspace / "events.jsonl").read_text().splitlines()]
    steps = [event for event in events if event["event"] == "step"]
    with safe_open(result, "pt") as file:
        weights = {name: digest(file.get_tensor(name).float().numpy().tobytes()) for name in file.keys()}  # noqa: SIM118
        metadata = plain(file.metadata())
        dtypes = sorted({str(file.get_tensor(name).dtype) for name in file.keys()})  # noqa: SIM118
    named = sorted(str(path.relative_to(here)) for path in here.rglob("*") if path.is_file())
    kept = [path for path in named if "tensorboard" not in path and "samples" not in path]
    cards = [path.read_text() for path in sorted(here.rglob("README.md"))]
    samples = [digest(path.read_bytes()) for path in sorted(workspace.glob("samples/**/*.png"))]
    written = [path.stat().st_size for path in sorted(workspace.glob("tensorboard/**/*")) if path.is_file()]
    told = [plain(event) for event in events if event["event"] not in ("phase", "step")]
    return {
        "numbers": [[step["loss"], step["learning_rates"]] for step in steps] + [weights],
        "files": [kept, metadata, dtypes, cards],
        "log": [told, samples, written, [path for path in named if "tensorboard" in path and not written]],
    }


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what differs between runs of one config."""
    return {name: value for name, value in values.items() if not any(part in name for part in PER_RUN)}


@pytest.mark.parametrize("path", CASES)
def test_it_changes_what_it_says(path: str, run: Run) -> None:
    case: Case = CASES[path]
    affects = info(LEAVES[path]).affects if path in LEAVES else NO_LEAVES[path]
    before = run(case.given, case.family)
    after = run({**case.given, path: case.value}, case.family)
    assert before[affects] != after[affects], f"{path} = {case.value!r} changes nothing of the {affects}"
    if affects in ("files", "log"):
        assert before["numbers"][:-1] == after["numbers"][:-1], "what is learned doesn't change"


def test_two_runs_of_one_config_are_equal(run: Run, places: dict[str, str]) -> None:
    """Otherwise any setting would seem to do something."""
    one, other = run({"sampling.before_first_step": True}, "sd15"), run({}, "sd15")
    assert one == other
