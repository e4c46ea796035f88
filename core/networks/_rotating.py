"""What OFT and BOFT share: settings of rotations."""

from __future__ import annotations

from typing import Any

from core.networks._adapter import LayerAdapter, given
from core.settings import setting


class Rotating(LayerAdapter):
    """Turns the outputs of a layer among themselves, by an orthogonal matrix: their relations stay as they are."""

    block_size: int = setting(
        8,
        "Block size",
        "At most so many outputs of a layer are turned among themselves: the nearest number that divides them. Larger "
        "learns more.",
        ge=2,
        le=256,
        also=("network_dim", "oft_block_size"),
    )
    constraint: float = setting(
        0.0,
        "Constraint",
        "Limit of how far a layer is turned, for each of its outputs: 1e-4 is usual. 0: none.",
        ge=0,
        le=1,
        level="advanced",
        also=("coft_eps", "oft_coft"),
    )
    rescaled: bool = setting(False, "Rescaled", "Also trains a factor for each output of a layer.", level="advanced")

    def options(self) -> dict[str, Any]:
        return super().options() | {"constraint": self.constraint, "rescaled": self.rescaled}

    def metadata(self) -> dict[str, str]:
        sizes = {"ss_network_dim": str(self.block_size), "ss_network_alpha": str(self.constraint)}
        return super().metadata() | sizes

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | given({"constraint": self.constraint, "rescaled": self.rescaled})
