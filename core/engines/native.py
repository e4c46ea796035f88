"""Training in this process, with Ochre's own loop."""

from __future__ import annotations

from typing import ClassVar, Literal

from core.settings.bases import EngineConfig


class Native(EngineConfig):
    """Ochre's own loop."""

    label: ClassVar[str] = "Ochre"

    name: Literal["native"] = "native"
