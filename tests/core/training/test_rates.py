"""Learning rates of a run: each group's follows the schedule, a class of torch's included, also after a resume."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.config.lora import LoraConfig
from core.config.toml_file import read_config
from core.errors import SettingsError
from core.manager.training_executor import Job, TrainingExecutor
from core.training.events import Failed, Step


def _rates(job: Job) -> list[dict[str, float]]:
    return [event.learning_rates for event in job.events()[0] if isinstance(event, Step)]


def test_a_class_of_torchs_gives_each_group_its_curve(train: Callable[..., tuple[Job, Any]]) -> None:
    """8 steps: cosine annealing from each group's own rate to 1e-6, after a warm-up of one step."""
    schedule = {
        "name": "custom",
        "class_path": "torch.optim.lr_scheduler.CosineAnnealingLR",
        "arguments": ["T_max = %SCHEDULER_STEPS%", "eta_min = 1e-6"],
        "warmup_steps": 1,
    }
    parts = {"denoiser": {"learning_rate": 1e-3}, "text_1": {"train": True, "learning_rate": 2e-4}}
    job, _ = train("sd15", {"schedule": schedule, "parts": parts})
    rates = _rates(job)
    assert len(rates) == 8
    for group, full in (("denoiser", 1e-3), ("text_1", 2e-4)):
        expected = [full / 2] + [1e-6 + (full - 1e-6) * (1 + math.cos(math.pi * s / 7)) / 2 for s in range(7)]
        assert [step[group] for step in rates] == pytest.approx(expected, rel=1e-9)


def test_a_warm_up_longer_than_the_run_ends_it_before_the_first_step(train: Callable[..., tuple[Job, Any]]) -> None:
    job, ending = train("sd15", {"schedule": {"name": "constant", "warmup_steps": 8}})
    assert isinstance(ending, Failed) and "takes 8 of the 8 steps" in f"{ending.what} {ending.why}"
    assert _rates(job) == []


def test_it_is_found_when_the_run_is_planned(run_toml: Callable[..., Path]) -> None:
    config = read_config(LoraConfig, run_toml("sd15", {"schedule": {"name": "constant", "warmup_steps": 8}}))
    with pytest.raises(SettingsError, match=r"schedule\.warmup_steps"):
        TrainingExecutor().plan(config)
