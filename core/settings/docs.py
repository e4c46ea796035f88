"""Writes the tables of docs/settings.md from the settings' declarations."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from core.registry import plugin_name
from core.settings.checks import plugin_kind
from core.settings.setting import Settings, info
from core.settings.tree import table_classes

_AFFECTS = {"numbers": "the result", "files": "files", "log": "what is recorded", "cost": "memory and speed"}
_SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "multiple_of": "multiple of"}
_TYPES = {bool: "true or false", int: "whole number", float: "number", str: "text"}


def settings_page(job: type[Settings], title: str) -> str:
    """The page of a job: a table for each of its tables, and for each plug-in that it can choose."""
    defaults = job()
    lines = [f"# {title}", "", *_table(defaults)]
    for name in job.model_fields:
        if table_classes(job, name):
            lines += _section(defaults, name, name, 2)
    return "\n".join(lines).rstrip() + "\n"


def _section(owner: Settings, name: str, path: str, level: int) -> Iterator[str]:
    """A setting that holds a table, or a list of them, or chooses a plug-in."""
    field, kind = type(owner).model_fields[name], plugin_kind(type(owner), name)
    many = get_origin(field.annotation) is list
    yield from [f"{'#' * level} {field.title}: `{f'[[{path}]]' if many else f'[{path}]'}`", "", field.description or ""]
    if kind:
        yield from ["", f"`name` chooses one of these{_default_name(field)}; its other settings are its own."]
    yield ""
    for cls in table_classes(type(owner), name):
        defaults = cls() if kind or many else getattr(owner, name)
        if kind:
            yield from [f"{'#' * (level + 1)} `{plugin_name(cls)}`: {getattr(cls, 'label', '')}", "", _summary(cls), ""]
        yield from _table(defaults, but="name" if kind else "")
        for inner in cls.model_fields:
            if table_classes(cls, inner):
                yield from _section(defaults, inner, f"{path}.{inner}", level + 1)


def _table(defaults: Settings, but: str = "") -> Iterator[str]:
    """A row for each setting of a group that is a plain value."""
    cls = type(defaults)
    names = [name for name in cls.model_fields if name != but and not table_classes(cls, name)]
    if not names:
        return
    yield "| Setting | Value | Default | What it does |"
    yield "| --- | --- | --- | --- |"
    for name in names:
        field = cls.model_fields[name]
        cells = [f"`{name}`", _value(field), f"`{_toml(getattr(defaults, name))}`", _words(field)]
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
    yield ""


def _value(field: FieldInfo) -> str:
    """What a setting takes: its type, its bounds, its unit."""
    bounds = [f"{_SIGNS[name]} {value}" for meta in field.metadata for name, value in _bounds(meta).items()]
    return ", ".join(part for part in (_type(field.annotation), *bounds, info(field).unit) if part)


def _bounds(meta: Any) -> Mapping[str, Any]:
    found = {name: getattr(meta, name, None) for name in _SIGNS}
    return {name: value for name, value in found.items() if value is not None}


def _type(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{_toml(choice)}`" for choice in inner)
    if origin is list:
        return f"list of: {_type(inner[0])}"
    if origin in (Union, UnionType):
        return " or ".join("left out" if one is NoneType else _type(one) for one in inner)
    return _TYPES.get(annotation, "")


def _words(field: FieldInfo) -> str:
    """Title, description, and the rest that a reader may look for."""
    about = info(field)
    words = [f"**{field.title}.** {field.description}"]
    if about.affects != "numbers":
        words.append(f"Affects {_AFFECTS[about.affects]}.")
    if about.also:
        words.append("Elsewhere: " + ", ".join(f"`{name}`" for name in about.also) + ".")
    if about.level == "advanced":
        words.append("*Advanced.*")
    return " ".join(words)


def _default_name(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    chosen = default[0] if isinstance(default, list) and default else default
    return f" (`{plugin_name(type(chosen))}` is the default)" if isinstance(chosen, BaseModel) else ""


def _toml(value: Any) -> str:
    """A value as TOML writes it; JSON is the same for what stands in these tables."""
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _summary(cls: type) -> str:
    return " ".join((cls.__doc__ or "").split())
