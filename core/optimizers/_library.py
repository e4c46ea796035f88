"""Optimizers that come from a library which may be missing on a machine."""

from __future__ import annotations

import importlib.util
from typing import ClassVar

from core.settings.bases import Availability, OptimizerConfig


class LibraryOptimizer(OptimizerConfig):
    """An optimizer of a library other than torch.

    library: what the package is called where one installs it. module: what is imported.
    instead: the optimizer to use where the library is missing.
    """

    library: ClassVar[str]
    module: ClassVar[str]
    instead: ClassVar[str] = "adamw"

    @classmethod
    def availability(cls, device: str) -> Availability:
        """Whether the library is installed; it isn't imported."""
        if is_installed(cls.module):
            return Availability(True)
        return Availability(False, f"{cls.label} needs the library {cls.library}, which isn't installed.", cls.instead)


def is_installed(module: str) -> bool:
    """Whether there is a module of this name; it isn't imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # it was imported in a way that left no trace of where from
        return True
