"""Training in this process, with Ochre's own loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from core.settings.bases import EngineConfig

if TYPE_CHECKING:
    from core.config.lora import LoraConfig
    from core.training.run_folder import RunFolder


class Native(EngineConfig):
    """Ochre's own loop, for every family."""

    label: ClassVar[str] = "Ochre"

    name: Literal["native"] = "native"

    def run(self, config: LoraConfig, folder: RunFolder) -> None:
        from core.training.session import run_session

        run_session(config, folder)
