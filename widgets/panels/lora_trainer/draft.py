"""What the user is putting together: the form of a LoRA job, on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.config.lora import LoraConfig
from core.config.toml_file import to_data
from core.contracts import Family, Part
from core.errors import OchreError, Problem
from core.manager.config_generator import ConfigGenerator
from core.manager.found_family import found_family
from core.manager.profile_manager import ProfileManager
from core.manager.training_executor import Job, TrainingExecutor
from core.registry import registry
from core.settings.bases.schedule import RunLength
from core.training.events import Started
from widgets.dataset.look import Look
from widgets.form import Form
from widgets.schedule_plot import NOMINAL

DEMO = "demo"


class Draft:
    """The form, and what the steps share. A fresh one is ready to train the demo."""

    def __init__(self) -> None:
        self.generator = ConfigGenerator(LoraConfig)
        self.profiles = ProfileManager()
        self.executor = TrainingExecutor()
        self.form = Form(LoraConfig, self._demo(), self.problems)
        self.job: Job | None = None
        self._begun: tuple[Path, dict[str, Any], int] | None = None
        self.look = Look(self.form.data, self.generator.validate)

    def problems(self, data: dict[str, Any]) -> list[Problem]:
        """Every problem of the form's data."""
        return self.generator.validate(data)[1]

    def config(self) -> LoraConfig | None:
        """What stands in the form, whatever problems it has; None where a value doesn't fit its type or bounds."""
        return self.generator.validate(self.form.data())[0]

    def length(self, config: LoraConfig) -> tuple[RunLength, bool]:
        """How long the run would be, and whether that is known: else it is as many steps as it may have, or 1000."""
        if known := self.look.length(config):
            return known, True
        steps = config.training.max_steps or NOMINAL
        return RunLength(steps, config.training.epochs, max(1, steps // config.training.epochs)), False

    def rates(self, config: LoraConfig) -> dict[Part, float]:
        """The learning rates of the parts that would be trained, as far as the base model is known."""
        family = self.family(config)
        return config.parts.rates(family.trains) if family else config.parts.rates()

    def trained_weights(self, config: LoraConfig) -> int | None:
        """How many weights the latest run trained, if it had these networks, parts and base; else None."""
        if self.job and (self._begun is None or self._begun[0] != self.job.workspace):
            self._begun = self._begun_by(self.job)
        known = self._begun and self._begun[1] == _trains(to_data(config))
        return self._begun[2] if self._begun and known else None

    def _begun_by(self, job: Job) -> tuple[Path, dict[str, Any], int] | None:
        """A run's workspace, what decides how many weights it trains, and how many these are."""
        started = next((event for event in job.events()[0] if isinstance(event, Started)), None)
        if started is None:
            return None
        try:
            return job.workspace, _trains(self.generator.read(job.workspace / "run.toml")), started.trained_weights
        except OchreError:  # of another version, or gone
            return None

    def latent_size(self, config: LoraConfig) -> tuple[int, int]:
        """Height and width, in latent pixels, of a picture at the run's resolution; of several, at the largest."""
        try:
            size = config.buckets.largest()
        except ValueError:  # told beside its setting
            return 64, 64
        family = self.family(config)
        scale = family.latent_scale if family else 8
        return size.height // scale, size.width // scale

    def family(self, config: LoraConfig) -> type[Family] | None:
        """The base model's family, as far as it can be told at once."""
        try:
            name = found_family(config.base.source)
        except OchreError:  # told beside its setting
            name = None
        name = name or config.base.family
        return registry("families").get(name) if name in registry("families").names() else None

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


def _trains(data: Mapping[str, Any]) -> dict[str, Any]:
    """What decides how many weights are trained."""
    return {name: data[name] for name in ("base", "networks", "parts")}
