"""`./run-cmd.sh import_kohya_network` prints a network, and writes it into a run.toml, never unasked."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from core.config.lora import LoraConfig
from core.config.toml_file import read_toml
from core.settings.checks import validate
from scripts.import_kohya_network import main

CONFIG = """
[network_arguments]
network_module = "networks.lora"
network_dim = 8
network_alpha = 4
network_args = ["up_lr_weight=0,0,0,1,1,1,0.5,0.5,0.5", "ggpo_beta=1"]
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "kohya.toml"
    path.write_text(CONFIG)
    return path


def test_it_prints_what_is_not_at_its_default(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(source), "--family", "sdxl"]) == 0
    text = capsys.readouterr().out
    (network,) = tomllib.loads(text[: text.index("\nLeft out")])["networks"]
    assert network == {
        "name": "lora",
        "rank": 8,
        "alpha": 4.0,
        "rules": [{"blocks": "OUT00-OUT02", "train": False}],
    }
    assert "ggpo_beta: has no counterpart" in text
    assert "Nothing is written" in text


def test_it_writes_a_run_toml(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.toml"
    assert main([str(source), "--family", "sdxl", "--config-path", str(path)]) == 0
    config, _ = validate(LoraConfig, read_toml(path))
    assert config
    assert [rule.blocks for rule in config.networks[0].rules] == ["OUT00-OUT02"]  # type: ignore[attr-defined]
    assert main([str(source), "--family", "sdxl", "--config-path", str(path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main([str(source), "--family", "sdxl", "--config-path", str(path), "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [("[", "can't be read"), ("a = 1", "says nothing of a network"), ('network_module = "x"', "no counterpart")],
)
def test_what_cannot_be_read_is_told(text: str, words: str, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source.write_text(text)
    assert main([str(source), "--family", "sd15"]) == 2
    assert words in capsys.readouterr().err
