"""Configs are checked against the settings, the machine and the base model; written whole, and read back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from core.config.lora import LoraConfig
from core.config.toml_file import read_config, set_values, to_data
from core.devices import Machine
from core.errors import OchreError, SettingsError, WorkspaceError
from core.manager.config_generator import ConfigGenerator, changes
from core.registry import registry

CARD = Machine("cuda", "RTX 2080", 8.0, 32.0, ("fp16", "fp32"), ())
NEW_CARD = Machine("cuda", "RTX 4090", 24.0, 64.0, ("bf16", "fp16", "fp32"), ())
CPU = Machine("cpu", "Fast 9000", 16.0, 16.0, ("bf16", "fp32"), ())
HUB = {"base.source": "somebody/some_model", "concepts.0.folder": "pictures"}


@pytest.fixture
def generator() -> ConfigGenerator:
    return ConfigGenerator(machine=NEW_CARD)


def _data(**values: Any) -> dict[str, Any]:
    return set_values(to_data(LoraConfig()), HUB | values)


def _paths(generator: ConfigGenerator, **values: Any) -> list[str]:
    return [problem.path for problem in generator.validate(_data(**values))[1]]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny model of each family, as a diffusers folder."""
    from core.families._saving import save_folder

    folder = tmp_path_factory.mktemp("tiny")
    return {name: save_folder(cls().tiny(), folder / name) for name, cls in registry("families").all().items()}


def test_a_config_without_problems(generator: ConfigGenerator) -> None:
    config, problems = generator.validate(_data())
    assert problems == [] and config is not None and config.base.source == "somebody/some_model"
    assert generator.checked(_data()) == config


def test_every_problem_at_once(generator: ConfigGenerator) -> None:
    config, problems = generator.validate(_data(**{"training.epochs": "ten", "networks.0.rank": 0, "memory.x": 1}))
    assert config is None
    assert {problem.path for problem in problems} == {"training.epochs", "networks.0.rank", "memory.x"}
    values = {"base.source": "", "base.clip_skip": 2, "base.family": "sdxl", "parts.denoiser.train": False}
    assert _paths(generator, **values) == ["base.source", "parts.denoiser.train", "base.clip_skip"]
    with pytest.raises(SettingsError, match="2 problems"):
        generator.checked(_data(**{"base.source": "", "parts.denoiser.train": False}))


@pytest.mark.parametrize(("machine", "precision", "best"), [(CARD, "bf16", "fp16"), (CPU, "fp16", "fp32")])
def test_a_precision_that_the_machine_lacks(machine: Machine, precision: str, best: str) -> None:
    generator = ConfigGenerator(machine=machine)
    data = _data(**{"memory.precision": precision})
    (problem,) = generator.validate(data)[1]
    assert problem.path == "memory.precision" and machine.name in problem.message
    assert problem.replacement == {"memory.precision": best}
    assert generator.validate(set_values(data, problem.replacement))[1] == []


def test_an_optimizer_that_isnt_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    generator, data = ConfigGenerator(machine=NEW_CARD), _data(**{"optimizer.name": "adamw8bit"})
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if "site-packages" not in entry])
    monkeypatch.delitem(sys.modules, "bitsandbytes", raising=False)
    (problem,) = generator.validate(data)[1]
    assert problem.path == "optimizer.name" and problem.replacement
    assert generator.validate(set_values(data, problem.replacement))[1] == []


def test_a_part_that_the_family_lacks(generator: ConfigGenerator) -> None:
    data = _data(**{"base.family": "sd15", "parts.text_2.train": True})
    (problem,) = generator.validate(data)[1]
    assert problem.path == "parts.text_2.train"
    assert problem.replacement and generator.validate(set_values(data, problem.replacement))[1] == []
    assert _paths(generator, **{"base.family": "sdxl", "parts.text_2.train": True}) == []
    assert _paths(generator, **{"parts.text_2.train": True}) == [], "the family isn't known yet"


def test_a_family_that_isnt_there(generator: ConfigGenerator) -> None:
    (problem,) = generator.validate(_data(**{"base.family": "sdxxl"}))[1]
    assert problem.path == "base.family" and "did you mean 'sdxl'" in problem.message
    assert problem.replacement == {"base.family": "detect"}


def test_the_family_is_read_from_the_base(generator: ConfigGenerator, tiny: dict[str, Path]) -> None:
    source = str(tiny["sd15"])
    assert _paths(generator, **{"base.source": source}) == []
    assert _paths(generator, **{"base.source": source, "parts.text_2.train": True}) == ["parts.text_2.train"]
    assert _paths(generator, **{"base.source": str(tiny["sdxl"]), "parts.text_2.train": True}) == []
    assert _paths(generator, **{"base.source": source, "base.family": "sdxl"}) == ["base.family"]


def test_the_family_of_a_published_name_needs_no_network(generator: ConfigGenerator) -> None:
    name = registry("families").get("sd15").repositories[0]
    assert _paths(generator, **{"base.source": name, "parts.text_2.train": True}) == ["parts.text_2.train"]


def test_a_base_that_is_none_is_looked_at_anew_when_it_changes(
    generator: ConfigGenerator, tmp_path: Path, tiny: dict[str, Path]
) -> None:
    path = tmp_path / "model"
    assert _paths(generator, **{"base.source": str(path / "model.safetensors")}) == ["base.source"]
    path.mkdir()
    os.utime(path, ns=(1, 1))
    (problem,) = generator.validate(_data(**{"base.source": str(path)}))[1]
    assert problem.path == "base.source" and str(path) in problem.message
    for item in tiny["sd15"].iterdir():
        (path / item.name).symlink_to(item)
    assert _paths(generator, **{"base.source": str(path)}) == []


def test_writes_and_reads(generator: ConfigGenerator, tmp_path: Path) -> None:
    config = generator.checked(_data(**{"training.epochs": 3}))
    path = generator.write(config, tmp_path / "new/folder/run.toml")
    assert read_config(LoraConfig, path) == config
    assert path.read_text(encoding="utf-8") == generator.to_toml(config)
    assert generator.read(path) == to_data(config)
    assert [item.name for item in path.parent.iterdir()] == ["run.toml"]


def test_reads_a_short_file_whole_and_refuses_a_wrong_one(generator: ConfigGenerator, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[training]\nepochs = 3\n")
    assert generator.read(path) == set_values(generator.default(), {"training.epochs": 3})
    path.write_text("[training]\nepochs = 0\nepoch = 1\n")
    with pytest.raises(SettingsError, match=r"2 problems(.|\n)*did you mean 'epochs'"):
        generator.read(path)
    with pytest.raises(OchreError, match="There is no config"):
        generator.read(tmp_path / "none.toml")


def test_a_place_that_cant_be_written(generator: ConfigGenerator, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="can't be made"):
        generator.write(generator.checked(_data()), tmp_path / "file/run.toml")


def test_changes(generator: ConfigGenerator) -> None:
    before = _data()
    after = set_values(before, {"training.epochs": 3, "networks.0.rank": 4, "memory.gradient_checkpointing": False})
    assert [str(change) for change in generator.changes(before, after)] == [
        "networks.0.rank: 16 → 4",
        "training.epochs: 10 → 3",
        "memory.gradient_checkpointing: on → off",
    ]
    assert generator.changes(before, before) == []


def test_changes_of_lists_and_plug_ins() -> None:
    before = {"weightings": [], "optimizer": {"name": "adamw", "eps": 1e-8, "betas": [0.9, 0.999]}}
    after = {"weightings": [{"name": "min_snr", "gamma": 5.0}], "optimizer": {"name": "lion", "betas": [0.9, 0.99]}}
    assert [str(change) for change in changes(before, after)] == [
        "weightings: none → min_snr (gamma 5)",
        "optimizer.name: adamw → lion",
        "optimizer.betas: 0.9, 0.999 → 0.9, 0.99",
    ]
