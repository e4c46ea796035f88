"""Every training profile is loaded, checked, and trains three steps on a tiny model of each of its families."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from core.config.lora import LoraConfig
from core.config.toml_file import set_values, to_data, to_toml
from core.manager.config_generator import ConfigGenerator
from core.manager.profile_manager import ProfileManager
from core.manager.training_executor import TrainingExecutor
from core.registry import registry
from core.training.events import Finished, Step

MANAGER = ProfileManager()
CASES = [
    pytest.param(profile.name, family, id=f"{profile.name}-{family}")
    for profile in MANAGER.profiles("training")
    if not profile.user
    for family in profile.families or registry("families").names()
]


@pytest.mark.parametrize(("name", "family"), CASES)
def test_it_trains(name: str, family: str, bases: dict[str, Path], pictures: Path, tmp_path: Path) -> None:
    base = {"base.source": str(bases[family]), "base.family": family, "concepts.0.folder": str(pictures)}
    profile = MANAGER.get("training", name)
    data, _ = MANAGER.apply(profile, set_values(to_data(LoraConfig()), base), family)
    small: dict[str, Any] = {
        "training.max_steps": 3, "buckets.resolution": "64", "buckets.minimum": 64, "buckets.maximum": 128,
        "memory.precision": "fp32", "memory.gradient_checkpointing": False, "memory.cache_dir": str(tmp_path / "cache"),
        "saving.workspace": str(tmp_path / "run"), "saving.dtype": "fp32", "logging.tensorboard": False,
        "sampling.prompts": [],
    }  # fmt: skip
    if name != "demo":  # which brings its own base and pictures
        small |= base
    config = ConfigGenerator().checked(set_values(data, small))
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    job = TrainingExecutor().start(path)
    ending = job.wait(300)
    assert isinstance(ending, Finished), ending
    steps = [event for event in job.events()[0] if isinstance(event, Step)]
    assert [event.step for event in steps] == [1, 2, 3]
    assert all(torch.isfinite(torch.tensor([event.loss, event.gradient_norm])).all() for event in steps)
    assert any(tensor.any() for key, tensor in load_file(ending.path).items() if key.endswith("lora_up.weight"))
