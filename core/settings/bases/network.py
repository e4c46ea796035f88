"""The base class of networks: what is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from core.contracts import Model, Network, Part
from core.settings.setting import Settings


class NetworkConfig(Settings):
    """What is trained."""

    label: ClassVar[str]
    loads_in: ClassVar[tuple[str, ...]]

    name: str

    def attach(self, model: Model, parts: Mapping[Part, Mapping[str, str]]) -> Network:
        """Build the trained modules and put them into the model.

        parts: for each part to train, its layer groups (name -> regular expression over module paths).
        """
        raise NotImplementedError
