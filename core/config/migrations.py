"""Brings config files of earlier versions of Ochre to the present layout, one version at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.errors import Problem, SettingsError

Migration = Callable[[dict[str, Any]], dict[str, Any]]


def _to_2(data: dict[str, Any]) -> dict[str, Any]:
    """How often something is done is one text; times are a distribution, which was always the uniform one.

    A file's format, of which there was only one, is none that one chooses.
    """
    return _everywhere(_everywhere(_everywhere(data, _cadences), _uniform_times), _without_format)


def _cadences(data: dict[str, Any]) -> dict[str, Any]:
    for section, name, epochs, steps, defaults in (
        ("saving", "every", "every_n_epochs", "every_n_steps", (0, 0)),
        ("saving", "backup_every", "", "backup_every_n_steps", (0, 200)),
        ("sampling", "every", "every_n_epochs", "every_n_steps", (1, 0)),
    ):
        table = data.get(section)
        if isinstance(table, Mapping) and (epochs in table or steps in table):
            numbers = (table.get(epochs, defaults[0]), table.get(steps, defaults[1]))
            pieces = [_counted(n, unit) for n, unit in zip(numbers, ("epoch", "step"), strict=True) if n != 0]
            kept = {key: value for key, value in table.items() if key not in (epochs, steps)}
            data = data | {section: kept | {name: ", ".join(pieces) or "never"}}
    return data


def _uniform_times(data: dict[str, Any]) -> dict[str, Any]:
    times = data.get("times")
    return data | {"times": {"name": "uniform"} | times} if isinstance(times, dict) else data


def _without_format(data: dict[str, Any]) -> dict[str, Any]:
    saving = data.get("saving")
    if not isinstance(saving, Mapping) or saving.get("format") != "kohya":
        return data
    return data | {"saving": {name: value for name, value in saving.items() if name != "format"}}


def _counted(number: Any, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _everywhere(data: dict[str, Any], change: Migration) -> dict[str, Any]:
    """Change a config, and what a profile lays over it for a family."""
    families = data.get("family")
    if isinstance(families, Mapping):
        own = {name: change(table) if isinstance(table, dict) else table for name, table in families.items()}
        data = data | {"family": own}
    return change(data)


MIGRATIONS: Sequence[Migration] = (_to_2,)
"""The first brings version 1 to version 2, and so on. A setting that only got a new name needs none: see `was`."""

VERSION = 1 + len(MIGRATIONS)


def migrate(data: Mapping[str, Any], source: str, migrations: Sequence[Migration] = MIGRATIONS) -> dict[str, Any]:
    """A config's data in the present layout. A file without a version is taken as present.

    SettingsError if a newer Ochre wrote it. A version that is no version is left for the config's check.
    """
    present, migrated = 1 + len(migrations), dict(data)
    version = data.get("version", present)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        return migrated
    if version > present:
        message = f"is {version}: the file is from a newer Ochre, and this one knows up to {present}; run update.sh"
        raise SettingsError([Problem("version", message)], source)
    for number in range(version, present):
        migrated = migrations[number - 1](migrated) | {"version": number + 1}
    return migrated
