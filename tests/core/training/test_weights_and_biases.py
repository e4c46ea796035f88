"""What is sent to Weights & Biases, read back from what the package keeps in its offline mode."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.config.lora import LoraConfig
from core.errors import MachineError
from core.manager.config_generator import ConfigGenerator
from core.manager.training_executor import Job
from core.settings.tree import data_without_places
from core.training import weights_and_biases
from core.training.curves import curves_of, pictures_of
from core.training.events import Event, Failed, Finished, Sampled, Step, Validated
from core.training.weights_and_biases import WeightsAndBiases, wandb_problem

Train = Callable[..., tuple[Job, Event | None]]

installed = pytest.mark.skipif(not weights_and_biases.is_installed(), reason="wandb is not installed")


def records(file: Path) -> Iterator[Any]:
    """The records of a `.wandb` file: LevelDB's log format after seven bytes, each a protocol buffer."""
    record_class = importlib.import_module("wandb.proto.wandb_internal_pb2").Record
    data, position, pieces = file.read_bytes(), 7, b""
    while position + 7 <= len(data):
        if 32768 - position % 32768 < 7:  # what is left of a block is padding
            position += 32768 - position % 32768
            continue
        length, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        pieces += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # the whole of a record, or the end of one
            record = record_class()
            record.ParseFromString(pieces)
            pieces = b""
            yield record


def history(file: Path) -> list[dict[str, Any]]:
    """What was logged, call by call; the package's own values left out."""
    rows = []
    for record in records(file):
        if record.WhichOneof("record_type") != "history":
            continue
        row: dict[str, Any] = {}
        for item in record.history.item:
            name, *inner = list(item.nested_key) or [item.key]
            place = row
            for key in inner:
                place, name = place.setdefault(name, {}), key
            place[name] = json.loads(item.value_json)
        rows.append({name: value for name, value in row.items() if not name.startswith("_")})
    return rows


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on which nobody is logged in, and that sends nothing."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no netrc"))


def logged(workspace: Path) -> list[Path]:
    return sorted((workspace / "wandb").glob("offline-run-*/*.wandb"))


@installed
def test_a_run_sends_what_tensorboard_is_given(train: Train, offline: None) -> None:
    changes = {
        "logging": {"wandb": True, "wandb_project": "tries", "wandb_run_name": "first try"},
        "validation": {"share": 0.3},
        "sampling": {"prompts": [{"prompt": "{trigger}", "width": 64, "height": 64}], "steps": 1},
        "training": {"max_steps": 5},
    }
    job, ending = train("sd15", changes)
    assert isinstance(ending, Finished), ending
    (file,) = logged(job.workspace)
    sent = history(file)
    told = [event for event in job.events()[0] if isinstance(event, Step | Validated | Sampled)]
    expected = [{"step": event.step, **curves_of(event), **pictures_of(event)} for event in told]
    assert [row.keys() for row in sent] == [row.keys() for row in expected]
    for row, event in zip(sent, told, strict=True):
        assert row["step"] == event.step
        for name, value in curves_of(event).items():
            assert row[name] == pytest.approx(value), name
        for name in pictures_of(event):
            assert row[name]["_type"] == "image-file" and (row[name]["width"], row[name]["height"]) == (64, 64)
    (run,) = [record.run for record in records(file) if record.WhichOneof("record_type") == "run"]
    assert (run.project, run.display_name) == ("tries", "first try")
    config = {item.key: json.loads(item.value_json) for item in run.config.update if item.key}
    assert config["training"]["max_steps"] == 5
    assert "source" not in config["base"] and "workspace" not in config["saving"]


@installed
def test_a_run_that_goes_on_goes_on_there(offline: None, tmp_path: Path) -> None:
    config = LoraConfig()
    for step in (1, 2):
        board = WeightsAndBiases(config, tmp_path)
        board(Validated(step=step, losses={"cats": 0.5}, mean=0.5))
        board.close()
    runs = [record.run for file in logged(tmp_path) for record in records(file) if record.HasField("run")]
    assert len({run.run_id for run in runs}) == 1 and runs[0].run_id
    assert runs[0].display_name == "my_lora", "the LoRA's name"


@installed
def test_nobody_logged_in_is_told_before_anything_is_loaded(
    train: Train, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr(socket, "create_connection", lambda *a, **k: pytest.fail("it asked the network"))
    job, ending = train("sd15", {"logging": {"wandb": True}})
    assert isinstance(ending, Failed)
    assert "Nobody is logged in" in ending.what and "WANDB_API_KEY" in ending.do
    assert not (job.workspace / "manifest.json").exists()


@installed
@pytest.mark.parametrize("where", ["environment", "netrc"])
def test_who_is_logged_in_is_found(where: str, offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = importlib.import_module("wandb").Settings(base_url="https://example.org")
    assert not weights_and_biases._is_logged_in(settings)
    if where == "environment":
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    else:
        (tmp_path / "no netrc").write_text(f"machine example.org login user password {'0' * 40}\n")
    assert weights_and_biases._is_logged_in(settings)


def test_without_the_package_it_is_a_problem_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    config = LoraConfig.model_validate({"logging": {"wandb": True}})
    empty_folder = importlib.machinery.ModuleSpec("wandb", None)  # as the folder that it leaves behind
    for found in (None, empty_folder):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, one=found: one)
        problem = wandb_problem(config)
        assert problem and problem.path == "logging.wandb" and problem.replacement == {"logging.wandb": False}
        with pytest.raises(MachineError, match="not installed"):
            WeightsAndBiases(config, Path())
        _, problems = ConfigGenerator().validate({"logging": {"wandb": True}})
        assert "logging.wandb" in [one.path for one in problems]
    assert wandb_problem(LoraConfig()) is None


def test_settings_are_told_without_the_users_folders() -> None:
    config = LoraConfig.model_validate(
        {
            "base": {"source": "/secret/model"},
            "saving": {"workspace": "/secret/run"},
            "concepts": [{"folder": "/secret"}],
        }
    )
    told = data_without_places(config)
    assert "/secret" not in json.dumps(told)
    assert told["concepts"][0]["kind"] == "standard" and told["optimizer"]["name"] == "adamw"
