"""A setting that chooses a plug-in: a table with a `name`, and the settings which that plug-in declares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import core_schema

from core.registry import Registry, registry


class plugin:
    """Annotates a setting whose type is any plug-in of a registry: `Annotated[OptimizerConfig, plugin("optimizers")]`.

    pydantic's tagged union over the registry's classes, told apart by `name`.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    @property
    def registry(self) -> Registry[Any]:
        """The registry that the setting chooses from."""
        return registry(self.kind)

    def default(self, name: str) -> Callable[[], Any]:
        """Makes the plug-in called `name` with its default settings; for `setting`."""
        return lambda: self.registry.get(name)()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        choices = {name: handler.generate_schema(cls) for name, cls in self.registry.all().items()}
        return core_schema.tagged_union_schema(choices, discriminator="name", metadata={"plugin": self.kind})
