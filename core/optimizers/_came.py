"""What CAME and its 8-bit form have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.errors import Problem
from core.optimizers._collection import CollectionOptimizer, fixed_decay
from core.optimizers._settings import check_betas, decoupled_decay, three_betas, weight_decay
from core.settings import setting


class CameSettings(CollectionOptimizer):
    """CAME's settings."""

    betas: list[float] = three_betas(
        (0.9, 0.999, 0.9999),
        "How long steps, the gradients' squares and the squared differences between steps are remembered.",
    )
    weight_decay: float = weight_decay()
    weight_decouple: bool = decoupled_decay(True)
    fixed_decay: bool = fixed_decay()
    clip_threshold: float = setting(
        1.0, "Clip updates at", "Larger updates of a tensor are scaled down to this.", gt=0, level="advanced"
    )
    eps1: float = setting(
        1e-30, "Epsilon", "Added to the gradients' squares.", gt=0, level="advanced", also=("eps", "epsilon1")
    )
    eps2: float = setting(
        1e-16, "Second epsilon", "Added to the squared differences between steps.", gt=0, level="advanced"
    )

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)

    def arguments(self) -> dict[str, Any]:
        """The library's arguments."""
        return {
            "betas": tuple(self.betas),
            "weight_decay": self.weight_decay,
            "weight_decouple": self.weight_decouple,
            "fixed_decay": self.fixed_decay,
            "clip_threshold": self.clip_threshold,
            "eps1": self.eps1,
            "eps2": self.eps2,
        }
