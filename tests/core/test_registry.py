"""Plug-ins are found by reading a folder; what is wrong with one is said at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.registry import Registry, plugin_name
from core.settings import Settings

PLUGIN = """
from core.settings import Settings
class {cls}(Settings):
    name: str = {name!r}
"""


class Folder:
    """A package of plug-ins, being filled."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        (path / "__init__.py").write_text("")
        self.registry: Registry[Any] = Registry(path.name, Settings)

    def write(self, file: str, text: str) -> None:
        (self.path / file).parent.mkdir(exist_ok=True)
        (self.path / file).write_text(text)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    name = "plugins_of_a_test"
    monkeypatch.syspath_prepend(tmp_path)
    yield Folder(tmp_path / name)
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]


def test_a_new_file_is_a_new_plug_in(folder: Folder) -> None:
    folder.write("round.py", PLUGIN.format(cls="Round", name="round"))
    assert folder.registry.names() == ["round"]
    folder.write("square.py", PLUGIN.format(cls="Square", name="square"))
    assert folder.registry.names() == ["round", "square"]
    assert {name: cls.__name__ for name, cls in folder.registry.all().items()} == {"round": "Round", "square": "Square"}
    assert plugin_name(folder.registry.get("square")) == "square"


def test_a_folder_is_a_plug_in_too(folder: Folder) -> None:
    folder.write("deep/_shape.py", PLUGIN.format(cls="Deep", name="deep"))
    folder.write("deep/__init__.py", f"from {folder.registry.package}.deep._shape import Deep\n")
    folder.write("empty/notes.txt", "no plug-in")
    assert folder.registry.names() == ["deep"]
    assert folder.registry.get("deep").__name__ == "Deep"


def test_shared_code_is_none(folder: Folder) -> None:
    folder.write("_round.py", PLUGIN.format(cls="Base", name="base"))
    folder.write(
        "oval.py",
        f"from {folder.registry.package}._round import Base\nclass Oval(Base):\n    name: str = 'oval'\n",
    )
    assert folder.registry.names() == ["oval"]
    assert folder.registry.get("oval").__name__ == "Oval"


def test_a_name_used_twice(folder: Folder) -> None:
    folder.write("round.py", PLUGIN.format(cls="Round", name="round"))
    folder.write("round/__init__.py", PLUGIN.format(cls="Round", name="round"))
    with pytest.raises(AssertionError, match=r"by a file and by a folder: round"):
        folder.registry.names()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "class Lonely:\n    name = 'round'\n",
        PLUGIN.format(cls="One", name="round") + PLUGIN.format(cls="Two", name="round"),
    ],
    ids=["nothing", "another kind", "two"],
)
def test_a_file_that_does_not_define_one_plug_in(folder: Folder, text: str) -> None:
    folder.write("round.py", text)
    with pytest.raises(AssertionError, match="must define one Settings"):
        folder.registry.get("round")


def test_a_file_whose_plug_in_has_another_name(folder: Folder) -> None:
    folder.write("round.py", PLUGIN.format(cls="Round", name="square"))
    with pytest.raises(AssertionError, match="defines 'square'"):
        folder.registry.get("round")


def test_an_unknown_name_lists_those_that_there_are(folder: Folder) -> None:
    folder.write("round.py", PLUGIN.format(cls="Round", name="round"))
    with pytest.raises(KeyError, match=r"no 'oval'; there are round"):
        folder.registry.get("oval")


def test_nothing_is_imported_before_it_is_asked_for(folder: Folder) -> None:
    folder.write("broken.py", "raise RuntimeError('imported')")
    folder.write("round.py", PLUGIN.format(cls="Round", name="round"))
    assert folder.registry.names() == ["broken", "round"]
    assert folder.registry.get("round").__name__ == "Round"
