"""Optimizers and networks, as a panel lists them: what works on this machine, and what to use instead."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.devices import Machine
from core.errors import Problem
from core.optimizers._other_names import Translated, translated
from core.registry import registry
from core.settings import info
from core.settings.bases import Availability, Finding, NetworkConfig, OptimizerConfig

log = logging.getLogger(__name__)

_OCHRE = Path(__file__).parents[2]
_TIMEOUT = 180  # seconds; importing torch and bitsandbytes on a busy machine takes up to half a minute


@dataclass(frozen=True)
class OptimizerEntry:
    """An optimizer.

    state_bytes_per_weight: memory for its state with the default settings, in bytes for each trained weight.
    has_self_test: whether it runs compiled code of its library, so that a trial of it tells more than `availability`.
    also: what other programs call it.
    """

    name: str
    label: str
    availability: Availability
    library: str
    needs_gpu: bool
    state_bytes_per_weight: float
    has_self_test: bool
    also: tuple[str, ...]
    description: str


@dataclass(frozen=True)
class SelfTest:
    """What a trial of an optimizer on a device found, line by line."""

    name: str
    label: str
    device: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether all is as it should be."""
        return all(finding.passed for finding in self.findings)

    def lines(self) -> list[str]:
        """The report as text."""
        marks = {True: "ok", False: "not ok"}
        return [f"{marks[finding.passed]}: {finding.text}" for finding in self.findings]


@dataclass(frozen=True)
class NetworkEntry:
    """A network.

    loads_in: each program -> what is wrong there with a file made with the default settings, empty if nothing is.
    settings: its settings -> their titles. also: what other programs call these.
    """

    name: str
    label: str
    loads_in: Mapping[str, str]
    settings: Mapping[str, str]
    also: tuple[str, ...]
    description: str


class OptimizerRegistry:
    """What can be chosen on a machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def entries(self) -> list[OptimizerEntry]:
        """Every optimizer. Quick: libraries are looked for, not imported."""
        return [
            OptimizerEntry(
                name=name,
                label=cls.label,
                availability=self.check(name),
                library=getattr(cls, "library", "torch"),
                needs_gpu=cls.needs_gpu,
                state_bytes_per_weight=cls.state_bytes_per_weight,
                has_self_test=cls.native,
                also=cls.programs_call_it,
                description=_summary(cls),
            )
            for name, cls in registry("optimizers").all().items()
        ]

    def networks(self) -> list[NetworkEntry]:
        """Every network."""
        found: dict[str, type[NetworkConfig]] = registry("networks").all()
        return [_network_entry(name, cls) for name, cls in found.items()]

    def check(self, name: str, deep: bool = False) -> Availability:
        """Whether an optimizer works here. KeyError for a name that isn't there.

        deep: one with compiled code of its own is tried, in another process, which takes 5 to 30 seconds.
        """
        optimizer: type[OptimizerConfig] = registry("optimizers").get(name)
        availability = optimizer.availability(self.machine.torch_type)
        if not (deep and optimizer.native and availability.works):
            return availability
        failed = next((finding for finding in self.self_test(name).findings if not finding.passed), None)
        if failed is None:
            return availability
        library = getattr(optimizer, "library", "torch")
        reason = f"{library} is installed, but {optimizer.label} doesn't work on this machine: {failed.text}."
        return Availability(False, reason, getattr(optimizer, "instead", "adamw"))

    def self_test(self, name: str) -> SelfTest:
        """Try an optimizer in a process of its own, which may crash or hang; 5 to 30 seconds. KeyError as `check`."""
        optimizer: type[OptimizerConfig] = registry("optimizers").get(name)
        device = self.machine.torch_type
        availability = optimizer.availability(device)
        found = _tried(name, device) if availability.works else [Finding(availability.reason, False)]
        return SelfTest(name, optimizer.label, device, tuple(found))

    @staticmethod
    def like(name: str, arguments: Sequence[str] = ()) -> Translated:
        """Ochre's table for what kohya's scripts or OneTrainer call `name`, with kohya's `key=value` arguments."""
        return translated(name, arguments)

    def problem(self, name: str, deep: bool = False) -> Problem | None:
        """What is wrong with choosing an optimizer here, with the one that replaces it; None if it works."""
        availability = self.check(name, deep)
        if availability.works:
            return None
        instead = registry("optimizers").get(availability.instead)
        message = f"{availability.reason} {instead.label} does the same job here."
        return Problem("optimizer.name", message, {"optimizer": instead().model_dump(exclude_none=True)})


def _tried(name: str, device: str) -> list[Finding]:
    """What a trial in a process of its own finds."""
    command = [sys.executable, "-m", "core.optimizers._self_test", name, device]
    try:
        run = subprocess.run(command, cwd=_OCHRE, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT)
    except subprocess.TimeoutExpired:
        return [Finding(f"a trial of it didn't end within {_TIMEOUT} s", False)]
    if run.returncode == 0:
        return [Finding(**line) for line in json.loads(run.stdout.splitlines()[-1])]
    log.warning("the trial of %s ended with %s: %s", name, run.returncode, run.stderr[-2000:])
    how = f"signal {-run.returncode}" if run.returncode < 0 else f"status {run.returncode}"
    return [Finding(f"it crashed ({how})", False)]


def _network_entry(name: str, cls: type[NetworkConfig]) -> NetworkEntry:
    fields = {field: told for field, told in cls.model_fields.items() if field != "name"}
    titles = {field: told.title or "" for field, told in fields.items()}
    also = tuple(other for told in fields.values() for other in info(told).also)
    loads_in = cls(name=name).loads_in()
    return NetworkEntry(name, cls.label, loads_in, titles, also, _summary(cls))


def _summary(cls: type) -> str:
    """The first sentence of a plug-in's docstring."""
    return (cls.__doc__ or "").strip().splitlines()[0]
