"""CAME, from pytorch_optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.optimizers._came import CameSettings
from core.optimizers._collection import ams_bound

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Came(CameSettings):
    """Adafactor with momentum, which trusts steps that agree with one another: half of AdamW's state.

    CAME: Confidence-guided Adaptive Memory Efficient Optimization, Luo et al. 2023, algorithm 2.
    """

    label: ClassVar[str] = "CAME"
    programs_call_it: ClassVar[tuple[str, ...]] = ("CAME",)
    state_bytes_per_weight: ClassVar[float] = 4.5

    name: Literal["came"] = "came"
    ams_bound: bool = ams_bound()

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from pytorch_optimizer import CAME

        return CAME(groups, **self.arguments(), ams_bound=self.ams_bound)
