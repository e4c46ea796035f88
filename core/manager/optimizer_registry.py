"""Optimizers and networks, as a panel lists them: what works on this machine, and what to use instead."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from core.devices import Machine
from core.errors import Problem
from core.registry import registry
from core.settings.bases import Availability, NetworkConfig, OptimizerConfig

log = logging.getLogger(__name__)

_OCHRE = Path(__file__).parents[2]
_TIMEOUT = 180  # seconds; importing torch and bitsandbytes on a busy machine takes up to half a minute


@dataclass(frozen=True)
class OptimizerEntry:
    """An optimizer. state_bytes_per_weight: memory for its state, in bytes for each trained weight."""

    name: str
    label: str
    availability: Availability
    state_bytes_per_weight: float
    description: str


@dataclass(frozen=True)
class NetworkEntry:
    """A network. loads_in: the programs that load what it makes."""

    name: str
    label: str
    loads_in: tuple[str, ...]
    description: str


class OptimizerRegistry:
    """What can be chosen on a machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def entries(self) -> list[OptimizerEntry]:
        """Every optimizer. Quick: libraries are looked for, not imported."""
        return [
            OptimizerEntry(name, cls.label, self.check(name), cls.state_bytes_per_weight, _summary(cls))
            for name, cls in registry("optimizers").all().items()
        ]

    def networks(self) -> list[NetworkEntry]:
        """Every network."""
        found: dict[str, type[NetworkConfig]] = registry("networks").all()
        return [NetworkEntry(name, cls.label, cls.loads_in, _summary(cls)) for name, cls in found.items()]

    def check(self, name: str, deep: bool = False) -> Availability:
        """Whether an optimizer works here. KeyError for a name that isn't there.

        deep: one with compiled code of its own is tried, in another process, which takes 5 to 30 seconds.
        """
        optimizer: type[OptimizerConfig] = registry("optimizers").get(name)
        availability = optimizer.availability(self.machine.torch_type)
        if deep and optimizer.native and availability.works:
            return self._try(optimizer, name)
        return availability

    def problem(self, name: str, deep: bool = False) -> Problem | None:
        """What is wrong with choosing an optimizer here, with the one that replaces it; None if it works."""
        availability = self.check(name, deep)
        if availability.works:
            return None
        instead = registry("optimizers").get(availability.instead)
        message = f"{availability.reason} {instead.label} does the same job here."
        return Problem("optimizer.name", message, {"optimizer": instead().model_dump(exclude_none=True)})

    def _try(self, optimizer: type[OptimizerConfig], name: str) -> Availability:
        """The answer of `self_test` in a process of its own, which may crash or hang."""
        instead = getattr(optimizer, "instead", "adamw")
        command = [sys.executable, "-m", "core.optimizers._self_test", name, self.machine.torch_type]
        try:
            run = subprocess.run(
                command, cwd=_OCHRE, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT
            )
        except subprocess.TimeoutExpired:
            reason = f"{optimizer.label} doesn't work on this machine: a trial of it didn't end within {_TIMEOUT} s."
            return Availability(False, reason, instead)
        if run.returncode == 0:
            return Availability(**json.loads(run.stdout.splitlines()[-1]))
        log.warning("the trial of %s ended with %s: %s", name, run.returncode, run.stderr[-2000:])
        how = f"signal {-run.returncode}" if run.returncode < 0 else f"status {run.returncode}"
        return Availability(False, f"{optimizer.label} doesn't work on this machine: it crashed ({how}).", instead)


def _summary(cls: type) -> str:
    """The first sentence of a plug-in's docstring."""
    return (cls.__doc__ or "").strip().splitlines()[0]
