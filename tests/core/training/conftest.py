"""Small real models and pictures for runs that take seconds."""

import gc
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from core.config.lora import LoraConfig
from core.config.toml_file import merge, read_config, to_data, to_toml
from core.contracts import Family
from core.families._saving import save_folder
from core.manager.training_executor import Job, TrainingExecutor
from core.registry import registry
from core.settings.checks import load
from core.training.events import Event
from core.training.run_folder import RunFolder
from core.training.session import fresh_process
from core.training.setup import Run, objective_of, set_up

Start = Callable[..., Job]


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny model of each family, as a diffusers folder."""
    folder, found = tmp_path_factory.mktemp("bases"), {}
    families: dict[str, type[Family]] = registry("families").all()
    for name, family in families.items():
        found[name] = save_folder(family().tiny(), folder / name)
    return found


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures of two shapes, with captions."""
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(6):
        picture = Image.new("RGB", ((128, 128), (256, 64))[index % 2], (40 * index, 120, 200))
        ImageDraw.Draw(picture).ellipse((10, 10, 50, 50), (255, 40 * index, 0))
        picture.save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text(f"a ball, blue, number {index}")
    return folder


@pytest.fixture
def run_toml(tmp_path: Path, bases: dict[str, Path], pictures: Path) -> Callable[..., Path]:
    """Writes a run.toml for a short run on a tiny model.

    Among the changes, `concept` changes the one concept, and `more_concepts` are put after it.
    """

    def write(family: str = "sd15", changes: Mapping[str, Any] | None = None) -> Path:
        return _write_toml(tmp_path, bases[family], pictures, changes or {})

    return write


def _write_toml(folder: Path, base: Path, pictures: Path, changes: Mapping[str, Any]) -> Path:
    data: dict[str, Any] = {
        "base": {"source": str(base)},
        "concepts": [{"name": "balls", "folder": str(pictures), "trigger_word": "ohx"}],
        "parts": {"text_1": {"train": "no"}},
        "buckets": {"resolution": 128, "minimum": 64},
        "networks": [{"name": "lora", "rank": 4, "alpha": 4}],
        "training": {"epochs": 2, "train_batch_size": 2},
        "memory": {"precision": "fp32", "gradient_checkpointing": False, "cache_dir": str(folder / "cache")},
        "saving": {"dtype": "fp32", "workspace": str(folder / "run")},
        "logging": {"tensorboard": False},
    }
    changes = dict(changes)
    data["concepts"][0] |= changes.pop("concept", {})
    data["concepts"] += [{"folder": str(pictures), **more} for more in changes.pop("more_concepts", [])]
    path = folder / "config.toml"
    path.write_text(to_toml(load(LoraConfig, merge(data, changes))), encoding="utf-8")
    return path


@pytest.fixture
def train(run_toml: Callable[..., Path]) -> Callable[..., tuple[Job, Event | None]]:
    """Runs a short training to its end."""

    def run(family: str = "sd15", changes: Mapping[str, Any] | None = None) -> tuple[Job, Event | None]:
        job = TrainingExecutor().start(run_toml(family, changes))
        return job, job.wait(120)

    return run


@pytest.fixture
def make_run(run_toml: Callable[..., Path], tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Runs that are set up and haven't begun; what they tell is in `run.told`."""
    made: list[Run] = []

    def make(changes: Mapping[str, Any] | None = None, family: str = "sd15") -> Run:
        folder = RunFolder(tmp_path / f"run-{len(made)}")
        folder.path.mkdir()
        told: list[Event] = []
        run = set_up(read_config(LoraConfig, run_toml(family, changes)), folder, told.append)
        run.told = told  # type: ignore[attr-defined]
        made.append(run)
        return run

    with fresh_process():
        yield make
        for run in made:
            run.batches.close()


@pytest.fixture(scope="module")
def one_run(tmp_path_factory: pytest.TempPathFactory, bases: dict[str, Path], pictures: Path) -> Iterator[Run]:
    """A run that is set up once for a module, whose tests leave it as it is."""
    folder = tmp_path_factory.mktemp("one_run")
    config = read_config(LoraConfig, _write_toml(folder, bases["sd15"], pictures, {}))
    with fresh_process():
        run = set_up(config, RunFolder(folder), lambda event: None)
        yield run
        run.batches.close()


@pytest.fixture
def with_settings(one_run: Run) -> Callable[..., Run]:
    """The run of the module with other settings of what is drawn, asked for and weighed; all else is shared."""

    def make(changes: Mapping[str, Any] | None = None) -> Run:
        config = load(LoraConfig, merge(to_data(one_run.config), changes or {}))
        run = copy(one_run)
        run.config, run.objective = config, objective_of(config, one_run.family, one_run.model)
        return run

    return make


@pytest.fixture(scope="session", autouse=True)
def _libraries_are_left_alone() -> None:
    """A run collects garbage several times; looking through all that the libraries hold took half of a short run."""
    import diffusers.pipelines.stable_diffusion
    import lycoris.modules
    import peft
    import transformers.models.clip.modeling_clip

    assert all([diffusers, lycoris, peft, transformers])
    gc.collect()
    gc.freeze()
