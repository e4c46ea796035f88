"""Lion, from lion-pytorch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._library import LibraryOptimizer
from core.optimizers._settings import check_betas, lions_betas
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Lion(LibraryOptimizer):
    """Follows the sign of the gradient alone; half of AdamW's state. Wants a third to a tenth of AdamW's rate.

    Symbolic Discovery of Optimization Algorithms, Chen et al. 2023, algorithm 2.
    """

    label: ClassVar[str] = "Lion"
    programs_call_it: ClassVar[tuple[str, ...]] = ("Lion", "LION")
    library: ClassVar[str] = "lion-pytorch"
    module: ClassVar[str] = "lion_pytorch"
    state_bytes_per_weight: ClassVar[float] = 4.0
    fused_backward: ClassVar[bool] = True
    usual_rate: ClassVar[float] = 3e-5

    name: Literal["lion"] = "lion"
    betas: list[float] = lions_betas()
    weight_decay: float = setting(
        0.0,
        "Weight decay",
        "Pulls weights towards zero at each step; three to ten times AdamW's does the same.",
        ge=0,
        level="advanced",
    )

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from lion_pytorch import Lion

        beta_1, beta_2 = self.betas
        return Lion(groups, betas=(beta_1, beta_2), weight_decay=self.weight_decay)
