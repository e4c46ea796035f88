"""Whoever knows an optimizer by another program's name finds it, with the settings that the name stands for."""

from __future__ import annotations

from typing import Any

import pytest

from core.optimizers._other_names import other_names, translated
from core.registry import registry
from core.settings.checks import load

# all of OneTrainer's `Optimizer` (2026-07), as its config files have them
ONETRAINER = [
    "ADABELIEF", "ADAFACTOR", "ADAGRAD", "ADAGRAD_8BIT", "ADAM", "ADAMUON_ADV", "ADAMW", "ADAMW_8BIT",
    "ADAMW_ADV", "ADAM_8BIT", "ADOPT", "ADOPT_ADV", "AIDA", "AdEMAMix", "AdEMAMix_8BIT", "CAME", "CAME_8BIT",
    "DADAPT_ADAM", "DADAPT_ADAN", "DADAPT_ADA_GRAD", "DADAPT_LION", "DADAPT_SGD", "LAMB", "LAMB_8BIT", "LARS",
    "LARS_8BIT", "LION", "LION_8BIT", "LION_ADV", "MUON", "MUON_ADV", "PRODIGY", "PRODIGY_ADV",
    "PRODIGY_PLUS_SCHEDULE_FREE", "RMSPROP", "RMSPROP_8BIT", "SCHEDULE_FREE_ADAMW", "SCHEDULE_FREE_SGD", "SGD",
    "SGD_8BIT", "SIGNSGD_ADV", "TIGER", "YOGI",
]  # fmt: skip

# sd-scripts' get_optimizer: name -> ours, and what else the name says there
KOHYA: dict[str, tuple[str, dict[str, Any]]] = {
    "AdamW": ("adamw", {}),
    "AdamW8bit": ("adamw8bit", {"paged": False}),
    "PagedAdamW": ("paged_adamw", {}),
    "PagedAdamW8bit": ("adamw8bit", {"paged": True}),
    "PagedAdamW32bit": ("paged_adamw", {}),
    "Lion": ("lion", {}),
    "Lion8bit": ("lion8bit", {"paged": False}),
    "PagedLion8bit": ("lion8bit", {"paged": True}),
    "SGDNesterov": ("sgd", {"nesterov": True, "momentum": 0.9}),
    "SGDNesterov8bit": ("sgd8bit", {"momentum": 0.9}),
    "DAdaptation": ("dadapt_adam_preprint", {}),
    "DAdaptAdamPreprint": ("dadapt_adam_preprint", {}),
    "DAdaptAdaGrad": ("dadapt_adagrad", {}),
    "DAdaptAdam": ("dadapt_adam", {}),
    "DAdaptAdan": ("dadapt_adan", {}),
    "DAdaptAdanIP": ("dadapt_adan_ip", {}),
    "DAdaptLion": ("dadapt_lion", {}),
    "DAdaptSGD": ("dadapt_sgd", {}),
    "AdaFactor": ("adafactor", {"relative_step": True, "scale_parameter": True}),
    "Prodigy": ("prodigy", {}),
    "AdamWScheduleFree": ("schedule_free_adamw", {}),
    "RAdamScheduleFree": ("schedule_free_radam", {}),
    "SGDScheduleFree": ("schedule_free_sgd", {}),
}


def test_every_optimizer_of_onetrainer_is_found() -> None:
    assert len(ONETRAINER) == 43
    assert not set(ONETRAINER) - set(other_names())


@pytest.mark.parametrize("name", [*KOHYA, *(name.lower() for name in KOHYA)])
def test_kohyas_names_in_any_case(name: str) -> None:
    ours, says = next(value for key, value in KOHYA.items() if key.lower() == name.lower())
    result = translated(name)
    assert result.table["name"] == ours and not result.notes
    config = load(registry("optimizers").get(ours), result.table)
    assert {key: getattr(config, key) for key in says} == says


def test_kohyas_adafactor_has_its_own_rate_and_onetrainers_has_not() -> None:
    assert translated("Adafactor").table["relative_step"] is True
    assert "relative_step" not in translated("ADAFACTOR").table


def test_no_name_stands_for_two_optimizers() -> None:
    said = [other for cls in registry("optimizers").all().values() for other in cls.programs_call_it]
    assert len(said) == len(set(said))
    assert not {other.lower() for other in said if "." not in other} & (
        set(registry("optimizers").names()) - {name.lower() for name in said}
    )


@pytest.mark.parametrize(
    ("name", "arguments", "table"),
    [
        ("Prodigy", ["decouple=True", "d_coef=2.0"], {"decouple": True, "d_coef": 2.0}),
        ("AdamW", ["weight_decay=0.1", "betas=0.9,0.99"], {"weight_decay": 0.1, "betas": [0.9, 0.99]}),
        ("AdamW", ["betas=(0.9, 0.99)"], {"betas": [0.9, 0.99]}),
        ("Adafactor", ["relative_step=False", "beta1=None"], {"relative_step": False, "beta1": 0.0}),
        ("Adafactor", ["eps=1e-30,1e-4"], {"eps": 1e-30, "scale_eps": 1e-4}),
        ("ProdigyPlusScheduleFree", ["eps=None"], {"atan2": True, "use_stableadamw": False}),
        ("SCHEDULE_FREE_ADAMW", ["r=0.5"], {"r": 0.5}),
        ("adamw", ["fused=True"], {}),
    ],
)
def test_arguments_become_settings(name: str, arguments: list[str], table: dict[str, Any]) -> None:
    result = translated(name, arguments)
    assert not result.notes
    assert table.items() <= result.table.items()
    load(registry("optimizers").get(result.table["name"]), result.table)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["foo=1"], "foo has no counterpart"),
        (["weight_decay"], "key = value"),
        (["weight_decay=-1"], "at least 0"),
        (["beta1=0.5"], "beta1 has no counterpart"),
    ],
)
def test_what_is_left_out_is_told(arguments: list[str], words: str) -> None:
    result = translated("AdamW", arguments)
    (note,) = result.notes
    assert words in note and result.table == {"name": "adamw"}


@pytest.mark.parametrize(
    ("name", "path"),
    [("torch.optim.Adamax", "torch.optim.Adamax"), ("Adamax", "torch.optim.Adamax"), ("a_lib.b.Own", "a_lib.b.Own")],
)
def test_any_other_is_a_class(name: str, path: str) -> None:
    result = translated(name, ["weight_decay=0.1"])
    assert result.table == {"name": "custom", "class_path": path, "arguments": ["weight_decay = 0.1"]}
