"""Walks through the settings classes of a job: which tables a setting holds, plug-ins' included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from core.registry import plugin_name, registry
from core.settings.checks import plugin_kind
from core.settings.setting import Settings, info


def table_classes(owner: type[Settings], name: str) -> list[type[Settings]]:
    """What the table of a setting, or each entry of its list, can be: one class, or every plug-in; [] for a value."""
    kind = plugin_kind(owner, name)
    if kind:
        return list(registry(kind).all().values())
    annotation = owner.model_fields[name].annotation if name in owner.model_fields else None
    candidates = (annotation, *get_args(annotation))
    return [cls for cls in candidates if isinstance(cls, type) and issubclass(cls, Settings)]


def table_class(owner: type[Settings], name: str, table: Mapping[str, Any]) -> type[Settings] | None:
    """The class of one such table; None for a value, or a plug-in that isn't there."""
    found = table_classes(owner, name)
    if plugin_kind(owner, name):
        return next((cls for cls in found if plugin_name(cls) == table.get("name")), None)
    return found[0] if found else None


def chooses_plugin(job: type[Settings], path: Sequence[str]) -> bool:
    """Whether the table at a path (keys, and places in lists) is a plug-in's, so that its `name` chooses it."""
    *parents, last = [key for key in path if not key.isdecimal()] or [""]
    owners = [job]
    for key in parents:
        owners = [cls for owner in owners for cls in table_classes(owner, key)]
    return any(plugin_kind(owner, last) for owner in owners)


PLACES = ("file", "folder", "path")
"""The kinds of settings that tell where something lies on the user's machine."""


def data_without_places(settings: Settings) -> dict[str, Any]:
    """Plain data of settings, for others to read: without the user's folders and files."""
    found: dict[str, Any] = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if info(field).kind not in PLACES and value is not None:
            found[name] = _shared(value)
    return found


def _shared(value: Any) -> Any:
    if isinstance(value, Settings):
        return data_without_places(value)
    return [_shared(item) for item in value] if isinstance(value, list) else value
