"""Other values for a setting: what a test tries, to see that the setting does something."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from core.settings import Settings, info


def alternatives(cls: type[Settings], name: str, context: Mapping[str, Any]) -> Iterator[Settings]:
    """Settings that differ from those of `context` in one, and are valid in themselves."""
    start = cls.model_validate(dict(context))
    for value in _values(cls.model_fields[name], getattr(start, name)):
        try:
            changed = cls.model_validate({**dict(context), name: value})
        except ValidationError:
            continue
        if not list(changed.check()) and getattr(changed, name) != getattr(start, name):
            yield changed


def shown_context(cls: type[Settings], name: str) -> dict[str, Any]:
    """What has to be set for a setting to apply, as its declaration says."""
    context: dict[str, Any] = {}
    for other, values in info(cls.model_fields[name]).shown_if.items():
        context |= shown_context(cls, other) | {other: next(iter(values))}
    return context


def _values(field: FieldInfo, value: Any) -> Iterator[Any]:
    choices = _choices(field.annotation)
    if choices:
        yield from (choice for choice in choices if choice != value)
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        kind = type(value)
        for other in (value * 2, value / 2, value + 1, value - 1, value * 0.9, value + 0.3, 0.7, 0.3, 0.05, 2, 3, 8, 0):
            yield kind(other)
    elif isinstance(value, list) and value and all(isinstance(item, float) for item in value):
        for place in range(len(value)):
            for factor in (0.5, 0.9):
                yield [item * factor if index == place else item for index, item in enumerate(value)]
    elif value is None:
        yield from (1, 0.5, 2.0)


def _choices(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    inner = [choice for arg in get_args(annotation) for choice in _choices(arg)]
    return tuple(inner) if get_origin(annotation) is not list else ()
