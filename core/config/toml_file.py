"""A config as TOML: written with each setting's description as a comment, read with every problem at once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tomlkit
from tomlkit.items import AoT, Table

from core.config.lora import LoraConfig
from core.config.migrations import migrate
from core.errors import OchreError, Problem, SettingsError
from core.settings import Settings
from core.settings.checks import load
from core.settings.tree import chooses_plugin

SettingsT = TypeVar("SettingsT", bound=Settings)


def to_data(settings: Settings) -> dict[str, Any]:
    """Plain data, as `tomllib` would read it: what is None is left out."""
    return settings.model_dump(exclude_none=True)


def to_toml(settings: Settings) -> str:
    """The text of a TOML file; a comment above each setting says what it is."""
    document = tomlkit.document()
    document.add(tomlkit.comment(_summary(type(settings))))
    _fill(document, settings)
    return tomlkit.dumps(document)


def read_toml(path: Path) -> dict[str, Any]:
    """Plain data from a TOML file, in the present layout. OchreError if it isn't there, isn't text, or isn't TOML."""
    try:
        return migrate(tomllib.loads(path.read_text(encoding="utf-8")), str(path))
    except FileNotFoundError:
        raise OchreError(f"There is no config {path}.", do="Check the path.") from None
    except IsADirectoryError:
        raise OchreError(f"{path} is a folder, not a config.", do="Give the path of a .toml file.") from None
    except UnicodeDecodeError as error:
        raise OchreError(
            f"{path} is not UTF-8 text.", f"Byte {error.start + 1} can't be read.", "Save it as UTF-8."
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([Problem("", f"not valid TOML: {error}")], str(path)) from None


def read_config(cls: type[SettingsT], path: Path) -> SettingsT:
    """Checked settings from a TOML file. SettingsError, with every problem, if there is one."""
    return load(cls, read_toml(path), str(path))


def _fill(table: Table | tomlkit.TOMLDocument, settings: Settings) -> None:
    """Plain values first, tables after them: TOML allows no other order."""
    values = [(name, getattr(settings, name)) for name in type(settings).model_fields]
    for name, value in (item for item in values if not _is_table(item[1]) and item[1] is not None):
        description = type(settings).model_fields[name].description
        if description:
            table.add(tomlkit.comment(" ".join(description.split())))
        table.add(name, value)
    for name, value in (item for item in values if _is_table(item[1])):
        table.add(name, _tables(value) if isinstance(value, list) else _table(value))


def _is_table(value: Any) -> bool:
    return isinstance(value, Settings) or (
        isinstance(value, list) and any(isinstance(item, Settings) for item in value)
    )


def _table(settings: Settings) -> Table:
    table = tomlkit.table()
    _fill(table, settings)
    return table


def _tables(items: list[Settings]) -> AoT:
    tables = tomlkit.aot()
    for item in items:
        tables.append(_table(item))
    return tables


def _summary(cls: type) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0]


def merge(
    data: Mapping[str, Any], changes: Mapping[str, Any], job: type[Settings] = LoraConfig, parents: Sequence[str] = ()
) -> dict[str, Any]:
    """A job's `data` with `changes` laid over it. A list, and the table of a plug-in that changes, are replaced whole.

    parents: where in the job these tables stand.
    """
    merged = dict(data)
    for key, value in changes.items():
        old, here = merged.get(key), (*parents, key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            other = old.get("name") != value.get("name", old.get("name")) and chooses_plugin(job, here)
            merged[key] = value if other else merge(old, value, job, here)
        else:
            merged[key] = value
    return merged


def set_values(data: Mapping[str, Any], values: Mapping[str, Any], job: type[Settings] = LoraConfig) -> dict[str, Any]:
    """A job's `data` with settings given by path (`networks.0.rank`) changed.

    Choosing another plug-in (`optimizer.name`) replaces its table. OchreError for a path that leads nowhere.
    """
    changed = _copy(data)
    for path, value in values.items():
        *parents, last = path.split(".")
        place: Any = changed
        for key in parents:
            place = _enter(place, key, path)
        if last == "name" and chooses_plugin(job, parents) and place.get("name") != value:
            place.clear()
        if isinstance(place, list):
            place[_index(place, last, path)] = value
        else:
            place[last] = value
    return changed


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _enter(place: Any, key: str, path: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, key, path)]
    inner = place.setdefault(key, {})
    if not isinstance(inner, dict | list):
        raise OchreError(f"There is no setting {path}.", f"{key} is a value, not a table.")
    return inner


def _index(place: list[Any], key: str, path: str) -> int:
    if not key.isdecimal() or int(key) >= len(place):
        raise OchreError(f"There is no setting {path}.", f"{key!r} is not one of the list's {len(place)} entries.")
    return int(key)
