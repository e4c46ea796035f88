"""ConfigGenerator: from what stands in a panel to a checked config and its TOML file, and back."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from core.config.lora import LoraConfig
from core.config.sections import Base
from core.config.toml_file import read_toml, to_data, to_toml
from core.contracts import Family
from core.devices import Machine, detect
from core.errors import OchreError, Problem, SettingsError, WorkspaceError
from core.manager.found_family import found_family, found_model
from core.manager.optimizer_registry import OptimizerRegistry
from core.registry import registry
from core.settings.checks import validate
from core.training.run_folder import write_text
from core.training.weights_and_biases import wandb_problem


@dataclass(frozen=True)
class Change:
    """A setting that differs between two configs. before, after: None where it isn't there."""

    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.path}: {_shown(self.before)} → {_shown(self.after)}"


class ConfigGenerator:
    """Makes configs of a job for a machine: this one, where none is given."""

    def __init__(self, job: type[LoraConfig] = LoraConfig, machine: Machine | None = None) -> None:
        self.job, self._machine = job, machine

    @cached_property
    def machine(self) -> Machine:
        """What the config is to run on."""
        return self._machine or detect()

    def default(self) -> dict[str, Any]:
        """The data of a config with every setting at its default."""
        return to_data(self.job())

    def validate(self, data: Mapping[str, Any]) -> tuple[LoraConfig | None, list[Problem]]:
        """The config (None if a value doesn't fit its type or bounds), and every problem.

        To those of the settings come those of this machine, and of the base model's family where it is known.
        """
        config, problems = validate(self.job, data)
        if config is None:
            return None, problems
        return config, [*problems, *self._of_machine(config), *_of_family(config)]

    def checked(self, data: Mapping[str, Any]) -> LoraConfig:
        """The config. SettingsError, with every problem that `validate` finds, if there is one."""
        config, problems = self.validate(data)
        if config is None or problems:
            raise SettingsError(problems)
        return config

    def to_toml(self, config: LoraConfig) -> str:
        """The text of a config's file."""
        return to_toml(config)

    def write(self, config: LoraConfig, path: Path) -> Path:
        """Write a config's file, whole or not at all; folders that are missing are made. WorkspaceError if it can't."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = error.strerror or str(error)
            raise WorkspaceError(f"{path.parent} can't be made.", why, "Choose another folder.") from error
        write_text(path, to_toml(config))
        return path

    def read(self, path: Path) -> dict[str, Any]:
        """The whole data of a config's file, defaults included. SettingsError with every problem of the settings.

        Problems that can be solved in a panel, such as a base that isn't there any more, are none here.
        """
        data = read_toml(path)
        config, problems = validate(self.job, data)
        if config is None:
            raise SettingsError(problems, str(path))
        return to_data(config)

    def changes(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
        """The settings in which two configs' data differ, in the order of the settings."""
        return list(changes(before, after))

    def _of_machine(self, config: LoraConfig) -> Iterator[Problem]:
        problem = OptimizerRegistry(self.machine).problem(config.optimizer.name)
        if problem:
            yield problem
        problem = precision_problem(config, self.machine)
        if problem:
            yield problem
        problem = wandb_problem(config)
        if problem:
            yield problem


def precision_problem(config: LoraConfig, machine: Machine) -> Problem | None:
    """The problem of a number format that the machine doesn't calculate in (a processor crawls in fp16), or None."""
    precision, best = config.memory.precision, precision_for(machine)
    if precision in machine.precisions:
        return None
    message = f"{machine.name} doesn't calculate in {precision}; use {best}"
    return Problem("memory.precision", message, {"memory.precision": best})


def precision_for(machine: Machine) -> str:
    """The number format to train in: the machine's best; on a processor fp32, as most are slow in bf16."""
    return "fp32" if machine.kind == "cpu" else machine.precision


def _of_family(config: LoraConfig) -> Iterator[Problem]:
    """What the base model isn't, doesn't have or can't do; nothing where it can't be told without the network."""
    base, names = config.base, registry("families").names()
    if base.family not in ("detect", *names):
        close = difflib.get_close_matches(base.family, names, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(names)}, and detect"
        yield Problem("base.family", f"there is no {base.family!r}{hint}", {"base.family": "detect"})
        return
    try:
        found = found_family(base.source)
    except OchreError as error:
        yield Problem("base.source", str(error))
        return
    if found and base.family not in ("detect", found):
        label = registry("families").get(found).label
        yield Problem("base.family", f"the base model is of {label}", {"base.family": "detect"})
    name = found or (base.family if base.family != "detect" else None)
    if name:
        yield from _beyond(registry("families").get(name), config)


def _beyond(family: type[Family], config: LoraConfig) -> Iterator[Problem]:
    """Settings that a family can't follow."""
    for part in config.parts.trained(family.trains):
        if part not in ("denoiser", *family.text_parts):
            path = f"parts.{part}.train"
            yield Problem(path, f"{family.label} has no such part; switch it off", {path: "no"})
    told = {problem.path for problem in config.check_parts(("denoiser",))}  # before the family was known
    yield from (problem for problem in config.check_parts(family.trains) if problem.path not in told)
    yield from config.check_objective(family.objective_kind, *_noising(config.base))
    yield from config.check_words(family.knows_word)
    if config.base.clip_skip > 1 and len(family.text_parts) > 1:  # with several encoders the layers are fixed
        yield Problem("base.clip_skip", f"{family.label} has no CLIP skip; set it to 1", {"base.clip_skip": 1})


def _noising(base: Base) -> tuple[str | None, bool | None]:
    """What the base model predicts, and whether its last time is noise alone; None where it can't be told."""
    found = found_model(base.source)
    prediction = (found.prediction or "epsilon") if found else None
    ends_in_noise = found.zero_terminal_snr if found else None
    if base.prediction != "detect":
        prediction = base.prediction
    if base.zero_terminal_snr != "detect":
        ends_in_noise = base.zero_terminal_snr == "yes"
    return prediction, ends_in_noise


def changes(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """The settings in which two data differ; lists of one length are compared entry by entry."""
    if _both_tables(before, after):
        before, after = before or {}, after or {}
        for key in [*before, *(key for key in after if key not in before)]:
            if _renamed(before, after) and key not in after:
                continue  # a plug-in's setting that went with the plug-in
            yield from changes(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
    elif _tables(before) and _tables(after) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from changes(one, other, f"{path}.{index}")
    elif before != after:
        yield Change(path, before, after)


def _both_tables(before: Any, after: Any) -> bool:
    """Whether both are tables; one of them may be missing."""
    sides = [side for side in (before, after) if side is not None]
    return bool(sides) and all(isinstance(side, Mapping) for side in sides)


def _renamed(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return before.get("name") != after.get("name")


def _tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _shown(value: Any) -> str:
    """A value as the panel shows it: a plug-in by its name, a float in its shortest form."""
    if isinstance(value, Mapping):
        own = ", ".join(f"{key} {_shown(item)}" for key, item in value.items() if key != "name")
        return f"{value.get('name', '')} ({own})".strip() if own else str(value.get("name", ""))
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value) or "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None or value == "" else str(value)
