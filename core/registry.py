"""Finds plug-ins: a name is a file (or folder) in the plug-ins' folder, and the class in it that carries the name."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

PluginT = TypeVar("PluginT")


class Registry(Generic[PluginT]):
    """The plug-ins of one folder of `core`, or of any package.

    A plug-in is one file `NAME.py`, or one folder `NAME/` with an `__init__.py`, that defines one subclass of `base`
    whose `name` is NAME. Files whose name begins with an underscore are shared code, not plug-ins.
    Nothing is imported before it is asked for.
    """

    def __init__(self, package: str, base: type[PluginT]) -> None:
        self.package, self.base = package, base
        self._found: dict[str, type[PluginT]] = {}

    @property
    def kind(self) -> str:
        """What the plug-ins are called: the folder's name."""
        return self.package.rpartition(".")[2]

    def names(self) -> list[str]:
        """All names, sorted. A name that both a file and a folder use is an error of ours."""
        folder = Path(importlib.import_module(self.package).__path__[0])
        files = [path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")]
        folders = [path.parent.name for path in folder.glob("*/__init__.py") if not path.parent.name.startswith("_")]
        twice = sorted(set(files) & set(folders))
        assert not twice, f"{self.package}: used by a file and by a folder: {', '.join(twice)}"
        return sorted(files + folders)

    def get(self, name: str) -> type[PluginT]:
        """The plug-in called `name`. KeyError, with the names there are, if there is none."""
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def _find(self, name: str) -> type[PluginT]:
        if name not in self.names():
            raise KeyError(f"{self.kind} has no {name!r}; there are {', '.join(self.names())}")
        module = importlib.import_module(f"{self.package}.{name}")
        found = [value for value in vars(module).values() if self._is_plugin(value, module.__name__)]
        assert len(found) == 1, f"{module.__name__} must define one {self.base.__name__}; it defines {found}"
        assert plugin_name(found[0]) == name, f"{module.__name__} defines {plugin_name(found[0])!r}"
        return found[0]

    def all(self) -> dict[str, type[PluginT]]:
        """Every plug-in by its name."""
        return {name: self.get(name) for name in self.names()}

    def _is_plugin(self, value: Any, module: str) -> bool:
        if not (isinstance(value, type) and issubclass(value, self.base)):
            return False
        return value.__module__ == module or value.__module__.startswith(module + ".")


def plugin_name(plugin: type) -> str:
    """A plug-in's name: its class attribute, or its pydantic field's default."""
    fields = getattr(plugin, "model_fields", {})
    return fields["name"].default if "name" in fields else plugin.name  # type: ignore[attr-defined]


@cache
def registry(kind: str) -> Registry[Any]:
    """The registry of one kind of plug-in of Ochre's: `registry("optimizers")`.

    Each plug-in folder names its base class in its `__init__` as `BASE`.
    """
    package = f"core.{kind}"
    return Registry(package, importlib.import_module(package).BASE)
