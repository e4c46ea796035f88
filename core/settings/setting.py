"""One setting: a pydantic field with the words, the unit and the level that a form and a file need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

from core.errors import Problem

Affects = Literal["numbers", "files", "log", "cost"]
Kind = Literal["value", "file", "folder", "path", "text", "password"]


@dataclass(frozen=True)
class Info:
    """What a setting tells besides its type, default and bounds.

    unit: px, steps, epochs, GB ...
    level: basic settings are in sight, advanced ones a click away.
    shown_if: name of a sibling setting -> the values with which this one applies. Display only.
    affects: numbers (the weights that come out), files, log, or cost (memory and speed; the numbers stay equal).
    was: an older name, which files of that time may still use.
    also: what kohya, OneTrainer and others call it, for the search box.
    kind: how a form asks for it, where the type doesn't say.
    step: what a form's arrow adds.
    choices: suggestions for a text setting, which may still be anything else.
    """

    unit: str = ""
    level: Literal["basic", "advanced"] = "basic"
    shown_if: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    affects: Affects = "numbers"
    was: str = ""
    also: Sequence[str] = ()
    kind: Kind = "value"
    step: float | None = None
    choices: Sequence[str] = ()


_INFO_NAMES = frozenset(Info.__dataclass_fields__)
_BOUNDS = frozenset({"ge", "gt", "le", "lt", "min_length", "max_length", "pattern", "multiple_of"})


def setting(default: Any, title: str, description: str, **more: Any) -> Any:
    """Declare a setting.

    default: the value, or a function that makes it; a list or a Settings is copied for each config.
    more: Info's fields, and pydantic's bounds (ge, gt, le, lt, min_length, max_length, pattern, multiple_of).
    """
    extra = asdict(Info(**{name: more.pop(name) for name in list(more) if name in _INFO_NAMES}))
    assert set(more) <= _BOUNDS, f"{title}: setting() knows no {', '.join(sorted(set(more) - _BOUNDS))}"
    if callable(default):
        more["default_factory"] = default
    elif isinstance(default, list | BaseModel):
        more["default_factory"] = lambda: _copy(default)
    else:
        more["default"] = default
    return Field(title=title, description=description, json_schema_extra={"ochre": extra}, **more)


def _copy(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_copy(deep=True)
    return [_copy(item) for item in value] if isinstance(value, list) else value


def info(field: FieldInfo) -> Info:
    """The Info of a declared setting (an empty one for a plain pydantic field, as a plug-in's `name`)."""
    extra = field.json_schema_extra
    return Info(**extra["ochre"]) if isinstance(extra, dict) and "ochre" in extra else Info()  # type: ignore[arg-type]


class Settings(BaseModel):
    """A group of settings: a section of a config, or what a plug-in can be told.

    Strict: `"16"` is no number, an unknown name is an error. `check` adds the rules that need more than one setting.
    """

    model_config = ConfigDict(extra="forbid", strict=True, validate_assignment=True, allow_inf_nan=False)

    def check(self) -> Iterator[Problem]:
        """Problems that no single setting shows; paths, also those of replacements, are relative to this group."""
        return iter(())

    @classmethod
    def unknown(cls, name: str) -> str:
        """What to say of a setting that isn't here, where there is more to say than that; else empty."""
        return ""

    @model_validator(mode="before")
    @classmethod
    def _take_renamed(cls, data: Any) -> Any:
        """Read files that still use a setting's older name."""
        if not isinstance(data, dict):
            return data
        renamed = {old: name for name, field in cls.model_fields.items() if (old := info(field).was)}
        return {renamed.get(key, key) if renamed.get(key) not in data else key: value for key, value in data.items()}
