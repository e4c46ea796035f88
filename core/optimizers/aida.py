"""Aida, from pytorch_optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._collection import (
    CollectionOptimizer,
    adam_debias,
    adanorm,
    adanorm_r,
    ams_bound,
    degenerated_to_sgd,
    fixed_decay,
    n_sma_threshold,
    rectify,
)
from core.optimizers._settings import adams_betas, check_betas, decoupled_decay, epsilon, weight_decay
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Aida(CollectionOptimizer):
    """AdaBelief whose step sizes differ less from weight to weight.

    On Suppressing Range of Adaptive Stepsizes of Adam to Improve Generalisation Performance, Zhang 2024, algorithm 1.
    """

    label: ClassVar[str] = "Aida"
    programs_call_it: ClassVar[tuple[str, ...]] = ("AIDA", "Aida")

    name: Literal["aida"] = "aida"
    betas: list[float] = adams_betas()
    k: int = setting(
        2, "Projections", "How often gradient and memory are projected onto one another.", ge=0, le=20, level="advanced"
    )
    xi: float = setting(1e-20, "Projection epsilon", "Keeps the projections stable.", gt=0, level="advanced")
    weight_decay: float = weight_decay()
    weight_decouple: bool = decoupled_decay(False)
    fixed_decay: bool = fixed_decay()
    rectify: bool = rectify()
    n_sma_threshold: int = n_sma_threshold()
    degenerated_to_sgd: bool = degenerated_to_sgd()
    ams_bound: bool = ams_bound()
    adanorm: bool = adanorm()
    adanorm_r: float = adanorm_r()
    adam_debias: bool = adam_debias()
    eps: float = epsilon()

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from pytorch_optimizer import Aida

        beta_1, beta_2 = self.betas
        return Aida(
            groups,
            betas=(beta_1, beta_2),
            k=self.k,
            xi=self.xi,
            weight_decay=self.weight_decay,
            weight_decouple=self.weight_decouple,
            fixed_decay=self.fixed_decay,
            rectify=self.rectify,
            n_sma_threshold=self.n_sma_threshold,
            degenerated_to_sgd=self.degenerated_to_sgd,
            ams_bound=self.ams_bound,
            eps=self.eps,
            adanorm=self.adanorm,
            adanorm_r=self.adanorm_r,
            adam_debias=self.adam_debias,
        )
