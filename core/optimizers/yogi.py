"""Yogi, from pytorch_optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._collection import CollectionOptimizer, adam_debias, fixed_decay
from core.optimizers._settings import adams_betas, check_betas, decoupled_decay, epsilon, weight_decay
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Yogi(CollectionOptimizer):
    """Adam whose step sizes grow slowly after gradients have become small. Wants about ten times AdamW's rate.

    Adaptive Methods for Nonconvex Optimization, Zaheer et al. 2018, algorithm 2.
    """

    label: ClassVar[str] = "Yogi"
    programs_call_it: ClassVar[tuple[str, ...]] = ("YOGI", "Yogi")
    usual_rate: ClassVar[float] = 1e-3

    name: Literal["yogi"] = "yogi"
    betas: list[float] = adams_betas()
    initial_accumulator: float = setting(
        1e-6,
        "First memory",
        "What the remembered gradients and squares begin with.",
        gt=0,
        level="advanced",
    )
    weight_decay: float = weight_decay()
    weight_decouple: bool = decoupled_decay(True)
    fixed_decay: bool = fixed_decay()
    adam_debias: bool = adam_debias()
    eps: float = epsilon(1e-3)

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from pytorch_optimizer import Yogi

        beta_1, beta_2 = self.betas
        return Yogi(
            groups,
            betas=(beta_1, beta_2),
            initial_accumulator=self.initial_accumulator,
            weight_decay=self.weight_decay,
            weight_decouple=self.weight_decouple,
            fixed_decay=self.fixed_decay,
            eps=self.eps,
            adam_debias=self.adam_debias,
        )
