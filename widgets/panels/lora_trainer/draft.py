"""What the user is putting together: the form of a LoRA job, on this machine."""

from __future__ import annotations

from typing import Any

from core.config.lora import LoraConfig
from core.errors import Problem
from core.manager.config_generator import ConfigGenerator
from core.manager.profile_manager import ProfileManager
from core.manager.training_executor import TrainingExecutor
from widgets.form import Form

DEMO = "demo"


class Draft:
    """The form, and what the steps share. A fresh one is ready to train the demo."""

    def __init__(self) -> None:
        self.generator = ConfigGenerator(LoraConfig)
        self.profiles = ProfileManager()
        self.executor = TrainingExecutor()
        self.form = Form(LoraConfig, self._demo(), self.problems)
        self.form.cards("networks").fixed = True  # a run trains one network

    def problems(self, data: dict[str, Any]) -> list[Problem]:
        """Every problem of the form's data."""
        return self.generator.validate(data)[1]

    def check(self) -> tuple[LoraConfig | None, list[Problem]]:
        """The config, and every problem, which then stands beside its field."""
        config, problems = self.generator.validate(self.form.data())
        self.form.show(problems)
        return config, problems

    def _demo(self) -> dict[str, Any]:
        """The defaults, with the memory profile for this machine and the demo's training profile."""
        memory = self.profiles.propose_memory(self.generator.machine)
        data, _ = self.profiles.apply(memory, self.generator.default())
        data, _ = self.profiles.apply(self.profiles.get("training", DEMO), data)
        return data
