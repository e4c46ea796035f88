"""Grams, from pytorch_optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._collection import CollectionOptimizer
from core.optimizers._settings import adams_betas, check_betas, decoupled_decay, epsilon, weight_decay

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Grams(CollectionOptimizer):
    """AdamW's step lengths, in the direction of the present gradient.

    Grams: Gradient Descent with Adaptive Momentum Scaling, Cao et al. 2024, algorithm 1.
    """

    label: ClassVar[str] = "Grams"
    programs_call_it: ClassVar[tuple[str, ...]] = ("Grams",)

    name: Literal["grams"] = "grams"
    betas: list[float] = adams_betas()
    weight_decay: float = weight_decay()
    weight_decouple: bool = decoupled_decay(True)
    eps: float = epsilon(1e-6)

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from pytorch_optimizer import Grams

        beta_1, beta_2 = self.betas
        return Grams(
            groups,
            betas=(beta_1, beta_2),
            weight_decay=self.weight_decay,
            weight_decouple=self.weight_decouple,
            eps=self.eps,
            foreach=None,  # all weights of a group in one go, as the others do
        )
