"""What was found out about a machine, and the places where one looks for it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

Kind = Literal["cuda", "rocm", "mps", "xpu", "cpu"]


@dataclass(frozen=True)
class Machine:
    """What trains, and what it can do.

    name: the device's name. memory_gb: its memory (for a CPU and for Apple's chips, the machine's).
    host_memory_gb: what this process may use at most. Both in GiB; 0 where nothing says it.
    precisions: number formats that it calculates in, the best one first.
    why: how each of these is known, in sentences.
    """

    kind: Kind
    name: str
    memory_gb: float
    host_memory_gb: float
    precisions: tuple[str, ...]
    why: tuple[str, ...]

    @property
    def precision(self) -> str:
        """The format to train in."""
        return self.precisions[0]

    @property
    def torch_type(self) -> str:
        """What torch calls this kind of device; AMD's GPUs are "cuda" too."""
        return "cuda" if self.kind == "rocm" else self.kind


@dataclass(frozen=True)
class Found:
    """A device: the same as in Machine."""

    kind: Kind
    name: str
    memory_gb: float
    precisions: tuple[str, ...]
    why: tuple[str, ...]


def _torch_version() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""


@dataclass(frozen=True)
class Host:
    """Where to look: the file system, the environment, the system's name, the version of torch that is installed."""

    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    system: str = field(default_factory=platform.system)
    processor: str = field(default_factory=platform.machine)
    torch: str = field(default_factory=_torch_version)

    def ask(self, program: str, *arguments: str) -> str | None:
        """What a program of the machine answers; None where there is no such program or it fails."""
        found = shutil.which(program, path=self.environment.get("PATH", os.defpath))
        if found is None:
            return None
        try:
            answer = subprocess.run([found, *arguments], capture_output=True, text=True, timeout=20, check=True)
        except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
            return None
        return answer.stdout

    def read(self, path: str) -> str:
        """The text of a file under the root; empty where it can't be read."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    def chosen(self, *variables: str) -> str | None:
        """The first device that a variable such as CUDA_VISIBLE_DEVICES allows; "" for none, None if it is not set."""
        for variable in variables:
            if variable in self.environment:
                first = self.environment[variable].split(",")[0].strip()
                return "" if first == "-1" else first
        return None
