"""Every setting has what a form, a file and the docs need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic.fields import FieldInfo

from core.config.lora import LoraConfig
from core.registry import registry
from core.settings import Settings, info
from core.settings.checks import plugin_kind

EXEMPT = {"name"}  # a plug-in's own name, which the choice of the plug-in shows


def _groups(cls: type[Settings]) -> Iterator[type[Settings]]:
    """The class, and every group of settings within it: sections, entries of lists, plug-ins."""
    yield cls
    for name, field in cls.model_fields.items():
        kind = plugin_kind(cls, name)
        inner = registry(kind).all().values() if kind else (field.annotation, *get_args(field.annotation))
        for candidate in inner:
            if isinstance(candidate, type) and issubclass(candidate, Settings):
                yield from _groups(candidate)


SETTINGS: list[Any] = [
    pytest.param(cls, name, field, id=f"{cls.__name__}.{name}")
    for cls in dict.fromkeys(_groups(LoraConfig))
    for name, field in cls.model_fields.items()
    if name not in EXEMPT or plugin_kind(cls, name) or info(field) != info(FieldInfo())
]


@pytest.mark.parametrize(("cls", "name", "field"), SETTINGS)
def test_a_setting_has_its_words(cls: type[Settings], name: str, field: FieldInfo) -> None:
    assert field.title and field.title == field.title.strip()
    assert not field.title.endswith("."), "a title is no sentence"
    assert field.description, "what does it do?"
    assert field.description.endswith("."), field.description
    assert "  " not in field.description


@pytest.mark.parametrize(("cls", "name", "field"), SETTINGS)
def test_a_setting_is_shown_by_siblings_that_are_there(cls: type[Settings], name: str, field: FieldInfo) -> None:
    assert set(info(field).shown_if) <= set(cls.model_fields)


@pytest.mark.parametrize(("cls", "name", "field"), SETTINGS)
def test_a_default_keeps_to_its_bounds(cls: type[Settings], name: str, field: FieldInfo) -> None:
    """pydantic doesn't check defaults; assigning one does."""
    settings = cls()
    setattr(settings, name, getattr(settings, name))


def test_the_walk_reaches_plug_ins_and_lists() -> None:
    found = {cls.__name__ for cls in _groups(LoraConfig)}
    assert {"LoraConfig", "Concept", "ConceptText", "Prodigy", "CosineWithRestarts", "MinSnr", "SamplePrompt"} <= found
