"""Brings config files of earlier versions of Ochre to the present layout, one version at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.errors import Problem, SettingsError

Migration = Callable[[dict[str, Any]], dict[str, Any]]

MIGRATIONS: Sequence[Migration] = ()
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
