"""From plain data to checked settings: every problem at once, each with its path, in the user's words."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from core.errors import Problem, SettingsError
from core.registry import registry
from core.settings.setting import Settings

SettingsT = TypeVar("SettingsT", bound=Settings)

# pydantic's error types -> our words; {names} come from the error's context, {value} is what was given
_WORDS = {
    "missing": "is missing",
    "bool_type": "must be true or false (it is {value})",
    "int_type": "must be a whole number (it is {value})",
    "float_type": "must be a number (it is {value})",
    "finite_number": "must be a finite number (it is {value})",
    "string_type": "must be text in quotes (it is {value})",
    "list_type": "must be a list (it is {value})",
    "dict_type": "must be a table (it is {value})",
    "model_type": "must be a table (it is {value})",
    "model_attributes_type": "must be a table (it is {value})",
    "greater_than": "must be greater than {gt:g} (it is {value})",
    "greater_than_equal": "must be at least {ge:g} (it is {value})",
    "less_than": "must be less than {lt:g} (it is {value})",
    "less_than_equal": "must be at most {le:g} (it is {value})",
    "multiple_of": "must be a multiple of {multiple_of:g} (it is {value})",
    "literal_error": "must be one of {expected} (it is {value})",
    "too_short": "needs at least {min_length} entries (it has {actual_length})",
    "too_long": "takes at most {max_length} entries (it has {actual_length})",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "can't be {value}; it must match {pattern}",
}


def load(cls: type[SettingsT], data: Mapping[str, Any], source: str = "These settings") -> SettingsT:
    """Checked settings from plain data. SettingsError, with every problem, if there is one."""
    settings, problems = validate(cls, data)
    if settings is None or problems:
        raise SettingsError(problems, source)
    return settings


def validate(cls: type[SettingsT], data: Mapping[str, Any]) -> tuple[SettingsT | None, list[Problem]]:
    """The settings (None if a value doesn't fit its type or bounds), and every problem."""
    try:
        settings = cls.model_validate(dict(data))
    except ValidationError as error:
        return None, [_problem(cls, data, detail) for detail in error.errors(include_url=False)]
    return settings, list(check_all(settings))


def check_all(settings: Settings, path: str = "") -> Iterator[Problem]:
    """What the `check` of these settings, and of all within them, finds."""
    for problem in settings.check():
        solved = problem.replacement and {_join(path, name): value for name, value in problem.replacement.items()}
        yield Problem(_join(path, problem.path), problem.message, solved)
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        for key, inner in enumerate(value) if isinstance(value, list) else [("", value)]:
            if isinstance(inner, Settings):
                yield from check_all(inner, _join(path, name, key))


def _join(*parts: object) -> str:
    return ".".join(str(part) for part in parts if part != "")


def _problem(cls: type[Settings], data: Mapping[str, Any], detail: Any) -> Problem:
    path, owner = _locate(cls, data, detail["loc"])
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        if said := owner.unknown(path.rpartition(".")[2]) if owner and issubclass(owner, Settings) else "":
            return Problem(path, said)
        return Problem(path, f"there is no such setting{_nearest(path, list(owner.model_fields) if owner else [])}")
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        names = sorted(name.strip("'") for name in context.get("expected_tags", "").split(", ") if name)
        path = _join(path, "name")
        if kind == "union_tag_not_found":
            return Problem(path, "is missing; it chooses what this table sets")
        return Problem(
            path, f"there is no {context['tag']!r}{_nearest(context['tag'], names)}; there are {', '.join(names)}"
        )
    words = _WORDS.get(kind)
    return Problem(path, words.format(value=_shown(detail["input"]), **context) if words else detail["msg"])


def _locate(cls: type[Settings], data: Any, location: tuple[int | str, ...]) -> tuple[str, type[BaseModel] | None]:
    """The TOML path of a pydantic location, and the settings class that owns its last key.

    pydantic puts a plug-in's name into the location of everything inside it; the TOML has no such level.
    """
    path: list[int | str] = []
    field = ""
    owner: type[BaseModel] | None = cls
    inside: type[BaseModel] | None = cls
    for key in location:
        if isinstance(data, Mapping) and key not in data and data.get("name") == key and field:
            inside = _plugin_class(owner, field, str(key)) or inside
            continue
        if isinstance(key, str):
            owner, field = inside, key
            inside = _class_of(owner, field)
        data = _step(data, key)
        path.append(key)
    return _join(*path), owner


def _step(data: Any, key: int | str) -> Any:
    try:
        return data[key]
    except (KeyError, IndexError, TypeError):
        return None


def _class_of(owner: type[BaseModel] | None, name: str) -> type[BaseModel] | None:
    """The settings class of a field, or of the entries of its list."""
    field = owner.model_fields.get(name) if owner else None
    candidates = (field.annotation, *get_args(field.annotation)) if field else ()
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _plugin_class(owner: type[BaseModel] | None, field: str, name: str) -> type[BaseModel] | None:
    kind = plugin_kind(owner, field) if owner else None
    return registry(kind).get(name) if kind else None


def plugin_kind(owner: type[BaseModel], name: str) -> str | None:
    """The registry that a field chooses from ("optimizers"), or None for any other field."""
    from core.settings.plugin import plugin

    field = owner.model_fields.get(name)
    if field is None:
        return None
    inner = [meta for arg in get_args(field.annotation) for meta in getattr(arg, "__metadata__", ())]
    return next((meta.kind for meta in [*field.metadata, *inner] if isinstance(meta, plugin)), None)


def _nearest(name: str, names: list[str]) -> str:
    last = name.rpartition(".")[2]
    close = difflib.get_close_matches(last, names, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def _shown(value: Any) -> str:
    text = f"'{value}'" if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
