"""The base class of engines: what carries a run out."""

from __future__ import annotations

from typing import Any, ClassVar

from core.settings.setting import Settings


class EngineConfig(Settings):
    """What carries a run out: this process, or a foreign trainer."""

    label: ClassVar[str]

    name: str

    def run(self, config: Any, folder: Any) -> None:
        """Carry out the run of a config in its workspace (a RunFolder), to the end or until it is stopped."""
        raise NotImplementedError
