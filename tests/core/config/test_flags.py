"""`--set section.name=value`: values come out in the setting's type, and change that setting alone."""

from __future__ import annotations

from typing import Any

import pytest

from core.config.flags import parse_flags
from core.config.lora import LoraConfig
from core.config.toml_file import set_values, to_data
from core.errors import OchreError, SettingsError
from core.settings.checks import load

BASE = {"base.source": "model", "concepts.0.folder": "pictures"}


def _set(*flags: str) -> LoraConfig:
    return load(LoraConfig, set_values(to_data(LoraConfig()), BASE | parse_flags(LoraConfig, flags)))


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("training.epochs=5", 5),
        ("training.epochs = 5 ", 5),
        ("parts.denoiser.learning_rate=3e-4", 3e-4),
        ("parts.denoiser.learning_rate=1", 1),
        ("memory.gradient_checkpointing=false", False),
        ("base.source=123", "123"),
        ("base.source=a=b", "a=b"),
        ("saving.name=lora", "lora"),
        ("saving.destination=", ""),
        ("memory.precision=fp16", "fp16"),
        ("optimizer.betas=[0.9, 0.99]", [0.9, 0.99]),
        ('weightings=[{name = "min_snr"}]', [{"name": "min_snr"}]),
        ("networks.0.rank=32", 32),
        ("optimizer.d_coef=2.0", 2.0),
        ("optimizer.name=prodigy", "prodigy"),
    ],
)
def test_a_value_has_its_settings_type(flag: str, value: Any) -> None:
    assert list(parse_flags(LoraConfig, [flag]).values()) == [value]


def test_flags_change_a_config() -> None:
    config = _set(
        "training.epochs=5", "networks.0.rank=32", "saving.name=first", "saving.name=mine", "memory.precision=fp32"
    )
    assert (config.training.epochs, config.networks[0].rank) == (5, 32)  # type: ignore[attr-defined]
    assert (config.saving.name, config.memory.precision) == ("mine", "fp32")


@pytest.mark.parametrize("flag", ["saving.name=mine", "concepts.0.name=cat"])
def test_a_name_that_chooses_no_plug_in_is_a_value_like_others(flag: str) -> None:
    before = set_values(to_data(LoraConfig()), {"saving.keep_last": 3, "concepts.0.repeats": 7})
    after = set_values(before, parse_flags(LoraConfig, [flag]))
    assert after["saving"]["keep_last"] == 3
    assert after["concepts"][0]["repeats"] == 7


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("training.epochs=many", "training.epochs: must be a whole number \\(it is 'many'\\)"),
        ("training.epochs=1\nseed = 2", "training.epochs: must be a whole number"),
        ("training.epochs=0", "training.epochs: must be at least 1"),
        ("training.epoch=5", "did you mean 'epochs'"),
        ("trainig.epochs=5", "did you mean 'training'"),
        ("memory.gradient_checkpointing=True", "must be true or false"),
        ("optimizer.name=adan2", "optimizer.name: there is no 'adan2'"),
    ],
)
def test_a_wrong_value_is_told_with_its_path(flag: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        _set(flag)


@pytest.mark.parametrize("flag", ["training.epochs", "=5", ""])
def test_a_flag_that_is_none(flag: str) -> None:
    with pytest.raises(OchreError, match=r"--set section\.name=value"):
        parse_flags(LoraConfig, [flag])


@pytest.mark.parametrize("flag", ["networks.1.rank=4", "networks.first.rank=4", "training.epochs.x=1"])
def test_a_path_that_leads_nowhere(flag: str) -> None:
    with pytest.raises(OchreError, match="There is no setting"):
        _set(flag)
