"""AdaBelief, from pytorch_optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._collection import (
    CollectionOptimizer,
    ams_bound,
    degenerated_to_sgd,
    fixed_decay,
    n_sma_threshold,
    rectify,
)
from core.optimizers._settings import adams_betas, check_betas, decoupled_decay, epsilon, weight_decay

if TYPE_CHECKING:
    from torch.optim import Optimizer


class AdaBelief(CollectionOptimizer):
    """AdamW that takes long steps where gradients are as expected, and short ones where they aren't.

    AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients, Zhuang et al. 2020, algorithm 2.
    """

    label: ClassVar[str] = "AdaBelief"
    programs_call_it: ClassVar[tuple[str, ...]] = ("ADABELIEF", "AdaBelief")

    name: Literal["adabelief"] = "adabelief"
    betas: list[float] = adams_betas()
    weight_decay: float = weight_decay()
    weight_decouple: bool = decoupled_decay(True)
    fixed_decay: bool = fixed_decay()
    rectify: bool = rectify()
    n_sma_threshold: int = n_sma_threshold()
    degenerated_to_sgd: bool = degenerated_to_sgd()
    ams_bound: bool = ams_bound()
    eps: float = epsilon(1e-16)

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from pytorch_optimizer import AdaBelief

        beta_1, beta_2 = self.betas
        return AdaBelief(
            groups,
            betas=(beta_1, beta_2),
            weight_decay=self.weight_decay,
            weight_decouple=self.weight_decouple,
            fixed_decay=self.fixed_decay,
            rectify=self.rectify,
            n_sma_threshold=self.n_sma_threshold,
            degenerated_to_sgd=self.degenerated_to_sgd,
            ams_bound=self.ams_bound,
            eps=self.eps,
        )
