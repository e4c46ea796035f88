"""ADOPT, from pytorch_optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._collection import CollectionOptimizer, cautious, fixed_decay
from core.optimizers._settings import adams_betas, check_betas, decoupled_decay, epsilon, weight_decay
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Adopt(CollectionOptimizer):
    """Adam that converges with any second beta. Its first step only looks at the gradients; nothing moves.

    ADOPT: Modified Adam Can Converge with Any beta2 with the Optimal Rate, Taniguchi et al. 2024, algorithm 2.
    """

    label: ClassVar[str] = "ADOPT"
    programs_call_it: ClassVar[tuple[str, ...]] = ("ADOPT",)

    name: Literal["adopt"] = "adopt"
    betas: list[float] = adams_betas((0.9, 0.9999))
    weight_decay: float = weight_decay()
    weight_decouple: bool = decoupled_decay(False)
    fixed_decay: bool = fixed_decay()
    cautious: bool = cautious()
    stable_adamw: bool = setting(
        False, "Stable", "Shortens the step where gradients suddenly grow, as StableAdamW does.", level="advanced"
    )
    eps: float = epsilon(1e-6)

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from pytorch_optimizer import ADOPT

        beta_1, beta_2 = self.betas
        return ADOPT(
            groups,
            betas=(beta_1, beta_2),
            weight_decay=self.weight_decay,
            weight_decouple=self.weight_decouple,
            fixed_decay=self.fixed_decay,
            eps=self.eps,
            cautious=self.cautious,
            stable_adamw=self.stable_adamw,
        )
