"""A setting that chooses a plug-in: a table with a `name`, and the settings which that plug-in declares."""

from __future__ import annotations

from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import core_schema

from core.registry import Registry, registry


class plugin:  # noqa: N801 - reads as a word in an annotation, as pydantic's own do
    """Annotates a setting whose type is any plug-in of a registry: `Annotated[OptimizerConfig, plugin("optimizers")]`.

    pydantic's tagged union over the registry's classes, told apart by `name`.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    @property
    def registry(self) -> Registry[Any]:
        """The registry that the setting chooses from."""
        return registry(self.kind)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        choices = {name: handler.generate_schema(cls) for name, cls in self.registry.all().items()}
        return core_schema.tagged_union_schema(choices, discriminator="name", metadata={"plugin": self.kind})
