"""`./run-cmd.sh import_kohya` tells what it understood, and writes a run.toml or a set of concepts, never unasked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.config.lora import LoraConfig
from core.config.toml_file import read_config, read_toml
from core.manager import concept_sets
from core.manager.concept_sets import ConceptSets
from scripts import import_kohya
from scripts.import_kohya import main

ROOT = Path(__file__).parents[2]

CONFIG = """
[general]
caption_extension = ".txt"
shuffle_caption = true
mystery = 5

[[datasets]]
resolution = 768
batch_size = 3
enable_bucket = true

  [[datasets.subsets]]
  image_dir = "cat"
  class_tokens = "sks cat"
  num_repeats = 4
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset config; sets of concepts are kept beside it."""
    (tmp_path / "cat").mkdir()
    path = tmp_path / "dataset.toml"
    path.write_text(CONFIG, encoding="utf-8")
    monkeypatch.setattr(import_kohya, "ConceptSets", lambda: ConceptSets(tmp_path / "sets"))
    return path


def test_it_tells_and_writes_nothing(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(source.parent.rglob("*"))
    assert main([str(source)]) == 0
    told = capsys.readouterr().out
    assert "dataset.toml: 1 concept\n" in told
    assert f"1. sks cat (standard): {source.parent / 'cat'}, repeats 4, trigger word 'sks cat'" in told
    assert "text.shuffle_tags = true" in told
    assert "buckets.resolution = '768'" in told and "training.train_batch_size = 3" in told
    taken, left = told.split("Left out, or not given:")
    assert "general.mystery = 5\n      Ochre doesn't know it." in left
    assert 'datasets.0.subsets.0.class_tokens = "sks cat"' in taken
    assert "Nothing is written." in left
    assert sorted(source.parent.rglob("*")) == before


def test_a_new_run(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new/run.toml"
    assert main([str(source), "--config-path", str(path)]) == 0
    assert "To do: base.source: choose a base model" in capsys.readouterr().out
    data = read_toml(path)
    assert [concept["trigger_word"] for concept in data["concepts"]] == ["sks cat"]
    assert data["buckets"]["resolution"] == "768" and data["training"]["train_batch_size"] == 3
    assert LoraConfig.model_validate(data).concepts[0].repeats == 4


def test_a_run_that_is_there(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.toml"
    text = (
        '[base]\nsource = "model.safetensors"\n[training]\nepochs = 7\n'
        '[[concepts]]\nfolder = "old"\n[optimizer]\nname = "lion"\n'
    )
    path.write_text(text)
    assert main([str(source), "--config-path", str(path)]) == 2
    assert "run.toml is there already" in capsys.readouterr().err
    assert path.read_text() == text
    assert main([str(source), "--config-path", str(path), "--overwrite"]) == 0
    assert "To do" not in capsys.readouterr().out
    config = read_config(LoraConfig, path)
    assert (config.base.source, config.training.epochs, config.optimizer.name) == ("model.safetensors", 7, "lion")
    assert [concept.name for concept in config.concepts] == ["sks cat"]
    assert config.training.train_batch_size == 3


def test_a_run_that_is_none(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[training]\nepochs = 'many'\n")
    assert main([str(source), "--config-path", str(path), "--overwrite", "--save-as", "pets"]) == 2
    told = capsys.readouterr().err
    assert str(path) in told and "training.epochs" in told
    assert not (tmp_path / "sets").exists()
    (tmp_path / "dog").mkdir()
    source.write_text(CONFIG.replace('"cat"', '"dog"').replace("batch_size = 3", "batch_size = 5000"))
    path.unlink()
    assert main([str(source), "--config-path", str(path)]) == 2
    assert "training.train_batch_size: must be at most 1024" in capsys.readouterr().err
    assert not path.exists()


def test_a_set_of_concepts(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(source), "--save-as", "My Pets"]) == 0
    assert "Saved as the set of concepts 'my_pets'" in capsys.readouterr().out
    sets = ConceptSets(tmp_path / "sets")
    assert [concept.trigger_word for concept in sets.load("my_pets").concepts] == ["sks cat"]
    assert main([str(source), "--save-as", "My Pets"]) == 2
    assert "already" in capsys.readouterr().err
    assert main([str(source), "--save-as", "My Pets", "--overwrite"]) == 0


def test_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train/10_sks dog").mkdir(parents=True)
    (tmp_path / "class/1_dog").mkdir(parents=True)
    assert main([str(tmp_path / "train"), "--regularisation-folder", str(tmp_path / "class")]) == 0
    told = capsys.readouterr().out
    assert "1. sks dog (standard)" in told and "repeats 10" in told and "2. dog (regularisation)" in told
    assert "Settings of the run" not in told


def test_what_can_not_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.toml")]) == 2
    assert main([str(tmp_path)]) == 2
    (tmp_path / "bad.toml").write_text("[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'nowhere'\nkeep_tokens='a'")
    assert main([str(tmp_path / "bad.toml")]) == 2
    told = capsys.readouterr().err
    assert "no file or folder" in told and "no subfolder such as" in told
    assert "datasets.0.subsets.0.image_dir: there is no folder 'nowhere'" in told
    assert "datasets.0.subsets.0.keep_tokens: must be a whole number" in told


def test_as_a_command_without_torch(source: Path) -> None:
    code = (
        "import sys; from scripts.import_kohya import main; code = main(sys.argv[1:]); "
        "print('torch' in sys.modules, code)"
    )
    command = [sys.executable, "-c", code, str(source)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert run.stdout.splitlines()[-1] == "False 0", run.stderr


def test_the_users_sets_lie_beside_the_profiles() -> None:
    assert ConceptSets().folder == concept_sets.PROFILES / "concepts/user"
