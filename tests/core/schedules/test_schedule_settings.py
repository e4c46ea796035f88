"""Every setting of every schedule changes the file and the rates; one that doesn't would be there for nothing."""

from __future__ import annotations

from typing import Any

import pytest

from core.config.toml_file import to_toml
from core.registry import registry
from core.settings.bases import ScheduleConfig
from core.settings.bases.schedule import RunLength

LR = "torch.optim.lr_scheduler"
CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "warmup_steps": ({}, 9),
    "warmup_fraction": ({}, 0.2),
    "minimum": ({}, 0.3),
    "cycles": ({}, 5),
    "gamma": ({}, 0.5),
    "cycle_multiplier": ({}, 2.0),
    "first_cycle_steps": ({}, 17),
    "repeat_warmup": ({"warmup_steps": 5}, True),
    "d": ({}, 0.5),
    "power": ({}, 3.0),
    "timescale": ({}, 7),
    "decay_fraction": ({}, 0.5),
    "decay_steps": ({}, 31),
    "decay_shape": ({}, "1-sqrt"),
    "rules": ({}, "1:30, 0.5"),
    "class_path": ({"class_path": f"{LR}.ConstantLR", "arguments": []}, f"{LR}.LinearLR"),
    "arguments": ({"class_path": f"{LR}.ExponentialLR", "arguments": ["gamma = 0.9"]}, ["gamma = 0.8"]),
}
"""Setting -> what else is set, and another value than its default."""
RUN = RunLength(100, 4, 25)
SETTINGS = [
    (name, setting)
    for name, cls in registry("schedules").all().items()
    for setting in cls.model_fields
    if setting != "name"
]


def _rates(schedule: ScheduleConfig) -> list[float]:
    assert not list(schedule.check()) and not list(schedule.check_length(RUN))
    return [schedule.rate(1e-4, step, RUN) for step in range(RUN.steps)]


@pytest.mark.parametrize(("name", "setting"), SETTINGS)
def test_each_setting_changes_the_file_and_the_rates(name: str, setting: str) -> None:
    besides, value = CASES[setting]
    cls = registry("schedules").get(name)
    before, after = cls(**besides), cls(**{**besides, setting: value})
    assert to_toml(before) != to_toml(after)
    assert _rates(before) != _rates(after)


def test_no_case_is_of_a_setting_that_is_gone() -> None:
    assert set(CASES) == {setting for _, setting in SETTINGS}
