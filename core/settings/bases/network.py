"""The base class of networks: what is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from core.contracts import Model, Network, Part, PartLayers
from core.settings.setting import Settings


class NetworkConfig(Settings):
    """What is trained."""

    label: ClassVar[str]
    adapts: ClassVar[bool] = True
    """Whether it changes layers; a run has at most one such network."""

    name: str

    def attach(self, model: Model, parts: Mapping[Part, PartLayers]) -> Network:
        """Build the trained modules and put them into the model.

        parts: for each part to train, its layers, by group and by block.
        """
        raise NotImplementedError

    def loads_in(self) -> dict[str, str]:
        """What each program does with the main file: nothing to say if it loads it and does what was trained."""
        raise NotImplementedError

    def own_rates(self) -> list[str]:
        """The settings, as paths relative to it, by which some weights learn at another rate than their part's."""
        return []

    def beside_names(self) -> list[str]:
        """What is put after the main file's name for each further file that is written."""
        return []
