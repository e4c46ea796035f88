"""What a user is told when something can't be done: what happened, why, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class OchreError(Exception):
    """An error that the user can act on.

    what: what happened, a sentence in the user's words.
    why: the cause, where it is known.
    do: what to do about it.
    """

    def __init__(self, what: str, why: str = "", do: str = "") -> None:
        super().__init__(" ".join(part for part in (what, why, do) if part))
        self.what, self.why, self.do = what, why, do


class ModelFileError(OchreError):
    """A model file or folder can't be read, or isn't what was expected."""


class PictureError(OchreError):
    """A picture, its caption, or a folder of them can't be used."""


class WorkspaceError(OchreError):
    """A workspace can't be used: it is busy, belongs to another config, or can't be written."""


class MachineError(OchreError):
    """Something that this machine can't do, or that isn't installed here."""


class TrainingError(OchreError):
    """A run that had to stop: a loss or a gradient that is not finite, no memory left."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a config.

    path: the setting, as in the TOML: `networks.0.rank`; empty for the whole config.
    message: what is wrong, and what would be right.
    replacement: settings (path -> value) that would solve it, offered as one click.
    """

    path: str
    message: str
    replacement: Mapping[str, Any] | None = None

    def moved(self, paths: Mapping[str, str]) -> Problem:
        """The same for settings that stand elsewhere: path -> where it really is."""
        solved = self.replacement and {paths.get(path, path): value for path, value in self.replacement.items()}
        return Problem(paths.get(self.path, self.path), self.message, solved)

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class SettingsError(OchreError):
    """A config with problems, all of them at once."""

    def __init__(self, problems: Sequence[Problem], source: str = "These settings") -> None:
        self.problems = list(problems)
        one = len(self.problems) == 1
        count, verb = ("a problem", "there is") if one else (f"{len(self.problems)} problems", "there are")
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(f"{source} can't be used as they are; {verb} {count}:{lines}")
