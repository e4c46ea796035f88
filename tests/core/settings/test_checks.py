"""Every problem at once, each with its path in the TOML and in words that help."""

from __future__ import annotations

from typing import Any

import pytest

from core.config.lora import LoraConfig
from core.config.toml_file import merge, set_values, to_data
from core.errors import SettingsError
from core.settings.checks import load, validate

RIGHT = merge(to_data(LoraConfig()), {"base": {"source": "model"}, "concepts": [{"name": "a", "folder": "pictures"}]})


def _problems(changes: dict[str, Any]) -> dict[str, str]:
    _, problems = validate(LoraConfig, merge(RIGHT, changes))
    assert len({problem.path for problem in problems}) == len(problems)
    return {problem.path: problem.message for problem in problems}


def test_a_right_config_has_none() -> None:
    assert _problems({}) == {}
    assert load(LoraConfig, RIGHT).base.source == "model"


def test_an_empty_config_says_what_to_choose() -> None:
    _, problems = validate(LoraConfig, {})
    assert {problem.path for problem in problems} == {"base.source", "concepts.0.folder"}


def test_all_at_once() -> None:
    problems = _problems(
        {
            "training": {"train_batch_size": "16", "seed": -1, "epochs": 2.5},
            "memory": {"precision": "int8"},
            "optimizer": {"name": "adamw", "ep": 1},
            "networks": [{"name": "lora", "rank": 0}],
            "concepts": [{"folder": "x", "repeats": True}, {"folder": 3, "image": {"flip": "yes"}}],
            "sped": {},
        }
    )
    assert set(problems) == {
        "training.train_batch_size",
        "training.seed",
        "training.epochs",
        "memory.precision",
        "optimizer.ep",
        "networks.0.rank",
        "concepts.0.repeats",
        "concepts.1.folder",
        "concepts.1.image.flip",
        "sped",
    }
    assert problems["training.train_batch_size"] == "must be a whole number (it is '16')"
    assert problems["training.seed"] == "must be at least 0 (it is -1)"
    assert problems["memory.precision"] == "must be one of 'fp32', 'bf16' or 'fp16' (it is 'int8')"
    assert problems["networks.0.rank"] == "must be at least 1 (it is 0)"


@pytest.mark.parametrize(
    ("changes", "path", "nearest"),
    [
        ({"training": {"epoch": 3}}, "training.epoch", "epochs"),
        ({"trainig": {}}, "trainig", "training"),
        ({"optimizer": {"name": "adamw", "weigth_decay": 0.1}}, "optimizer.weigth_decay", "weight_decay"),
        ({"optimizer": {"name": "prodigy", "d_coeff": 1.0}}, "optimizer.d_coeff", "d_coef"),
        ({"schedule": {"name": "cosine", "warmup_step": 1}}, "schedule.warmup_step", "warmup_steps"),
        ({"networks": [{"name": "locon", "conv_ranks": 4}]}, "networks.0.conv_ranks", "conv_rank"),
        ({"weightings": [{"name": "min_snr", "gama": 4.0}]}, "weightings.0.gama", "gamma"),
        ({"concepts": [{"folder": "x", "text": {"shuffle_tag": True}}]}, "concepts.0.text.shuffle_tag", "shuffle_tags"),
        ({"optimizer": {"name": "prodgy"}}, "optimizer.name", "prodigy"),
        ({"schedule": {"name": "cosinus"}}, "schedule.name", "cosine"),
    ],
)
def test_an_unknown_name_comes_with_the_nearest_known_one(changes: dict[str, Any], path: str, nearest: str) -> None:
    message = _problems(changes)[path]
    assert message.startswith("there is no")
    assert f"did you mean '{nearest}'?" in message


def test_an_unknown_plug_in_lists_those_that_there_are() -> None:
    message = _problems({"optimizer": {"name": "sgdx"}})["optimizer.name"]
    assert "adamw, adamw8bit, " in message and ", prodigy, " in message


def test_a_plug_in_without_its_name() -> None:
    assert _problems({"optimizer": {"name": ""}})["optimizer.name"].startswith("there is no ''")
    data = {key: value for key, value in RIGHT.items() if key != "optimizer"} | {"optimizer": {"eps": 1e-8}}
    _, problems = validate(LoraConfig, data)
    assert [(p.path, p.message) for p in problems] == [
        ("optimizer.name", "is missing; it chooses what this table sets")
    ]


def test_a_list_entry_without_its_name() -> None:
    assert list(_problems({"networks": [{"rank": 4}]})) == ["networks.0.name"]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"optimizer": {"name": "adamw", "betas": [0.9, 1.5]}}, "optimizer.betas.1"),
        ({"optimizer": {"name": "adamw", "betas": [0.9]}}, "optimizer.betas"),
        ({"optimizer": {"name": "adamw", "betas": [0.9, "x"]}}, "optimizer.betas.1"),
        ({"optimizer": {"name": "adafactor", "warmup_init": True}}, "optimizer.warmup_init"),
        ({"optimizer": {"name": "prodigy"}}, "parts.denoiser.learning_rate"),
        ({"schedule": {"name": "linear", "warmup_steps": 5, "warmup_fraction": 0.1}}, "schedule.warmup_fraction"),
        ({"times": {"name": "uniform", "first": 700, "end": 300}}, "times.end"),
        ({"losses": []}, "losses"),
        ({"losses": [{"name": "l1", "weight": 0.0}]}, "losses"),
        ({"noise": {"noise_offset_random_strength": True}}, "noise.noise_offset_random_strength"),
        ({"noise": {"generalized_offset_noise": True}}, "noise.generalized_offset_noise"),
        ({"noise": {"ip_noise_gamma_random_strength": True}}, "noise.ip_noise_gamma_random_strength"),
        ({"parts": {"denoiser": {"train": False}}}, "parts.denoiser.train"),
        ({"parts": {"denoiser": {"learning_rate": 1.0}}}, "parts.denoiser.learning_rate"),
        ({"networks": []}, "networks"),
        ({"concepts": []}, "concepts"),
        ({"concepts": [{"folder": "x", "kind": "regularisation"}]}, "concepts"),
        ({"noise": {"noise_offset": float("nan")}}, "noise.noise_offset"),
        ({"optimizer": {"name": "adamw", "eps": float("inf")}}, "optimizer.eps"),
        ({"optimizer": "adamw"}, "optimizer"),
        ({"training": [1]}, "training"),
        ({"version": 99}, "version"),
        ({"job": "finetune"}, "job"),
        ({"saving": {"name": "a/b"}}, "saving.name"),
    ],
)
def test_a_rule_that_is_broken_names_its_setting(changes: dict[str, Any], path: str) -> None:
    assert list(_problems(changes)) == [path]


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": {"name": "prodigy"}},
        {"optimizer": {"name": "sgd", "momentum": 0.0, "nesterov": True}},  # of a table
        {"networks": [{"name": "lora", "save_plain": True}]},  # of a list's entry
    ],
)
def test_a_replacement_solves_its_problem(changes: dict[str, Any]) -> None:
    data = merge(RIGHT, changes)
    _, (problem,) = validate(LoraConfig, data)
    assert problem.replacement
    assert validate(LoraConfig, set_values(data, problem.replacement))[1] == []


def test_the_error_counts_and_lists() -> None:
    with pytest.raises(SettingsError) as raised:
        load(LoraConfig, merge(RIGHT, {"training": {"seed": -1, "epochs": 0}}), "run.toml")
    text = str(raised.value)
    assert text.startswith("run.toml can't be used as they are; there are 2 problems:")
    assert "\n  training.seed: must be at least 0 (it is -1)" in text
