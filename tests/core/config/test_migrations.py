"""Files of older versions are brought up to date, one version at a time; those of newer ones are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.config.lora import LoraConfig
from core.config.migrations import MIGRATIONS, VERSION, migrate
from core.config.toml_file import read_config, read_toml
from core.errors import SettingsError


def _to_2(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key != "old"} | {"new": data["old"] * 10}


def _to_3(data: dict[str, Any]) -> dict[str, Any]:
    return data | {"new": data["new"] + 1}


def test_each_version_follows_the_one_before() -> None:
    data = {"version": 1, "old": 4}
    assert migrate(data, "run.toml", (_to_2, _to_3)) == {"version": 3, "new": 41}
    assert data == {"version": 1, "old": 4}
    assert migrate({"version": 2, "new": 4}, "run.toml", (_to_2, _to_3)) == {"version": 3, "new": 5}
    assert migrate({"version": 3, "new": 4}, "run.toml", (_to_2, _to_3)) == {"version": 3, "new": 4}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({"saving": {"name": "cat"}}, {"saving": {"name": "cat"}}),
        (
            {"saving": {"every_n_epochs": 2, "every_n_steps": 0, "backup_every_n_steps": 0}},
            {"saving": {"every": "2 epochs", "backup_every": "never"}},
        ),
        ({"saving": {"every_n_epochs": 0}}, {"saving": {"every": "never"}}),
        ({"sampling": {"every_n_epochs": 0, "every_n_steps": 50}}, {"sampling": {"every": "50 steps"}}),
        ({"sampling": {"every_n_steps": 1}}, {"sampling": {"every": "1 epoch, 1 step"}}),  # an epoch was the default
        (
            {"family": {"sdxl": {"saving": {"every_n_steps": 9}}}},
            {"family": {"sdxl": {"saving": {"every": "9 steps"}}}},
        ),
    ],
)
def test_how_often_became_one_text(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert migrate({"version": 1, **before}, "run.toml") == {"version": VERSION, **after}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"times": {"first": 200}}, {"times": {"name": "uniform", "first": 200}}),
        ({"times": {}}, {"times": {"name": "uniform"}}),
        (
            {"family": {"sdxl": {"times": {"end": 800}}}},
            {"family": {"sdxl": {"times": {"name": "uniform", "end": 800}}}},
        ),
        ({"times": 3}, {"times": 3}),  # for the config's check to tell
    ],
)
def test_times_became_a_distribution(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert migrate({"version": 1, **before}, "run.toml") == {"version": VERSION, **after}


def test_the_layout_of_now_is_one_more_than_the_migrations() -> None:
    assert len(MIGRATIONS) + 1 == VERSION == LoraConfig().version


def test_a_newer_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(f"version = {VERSION + 1}\nsettings_of_tomorrow = 1\n")
    with pytest.raises(SettingsError, match=r"newer Ochre.*run update\.sh") as caught:
        read_toml(path)
    assert str(path) in str(caught.value)
    assert [problem.path for problem in caught.value.problems] == ["version"]


@pytest.mark.parametrize("version", ['"1"', "true", "0", "1.5"])
def test_a_version_that_is_none_is_left_for_the_check(version: str, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(f"version = {version}\n")
    with pytest.raises(SettingsError, match="version: must be"):
        read_config(LoraConfig, path)
