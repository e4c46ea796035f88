"""Adan, from pytorch_optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._collection import CollectionOptimizer, adanorm, adanorm_r
from core.optimizers._settings import check_betas, decoupled_decay, epsilon, three_betas, weight_decay

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Adan(CollectionOptimizer):
    """AdamW that looks ahead by the difference between gradients. Twice AdamW's state.

    Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models, Xie et al. 2022, algorithm 1. Betas
    are what remains of the memory, as in AdamW; the paper writes one minus each.
    """

    label: ClassVar[str] = "Adan"
    programs_call_it: ClassVar[tuple[str, ...]] = ("Adan",)
    state_bytes_per_weight: ClassVar[float] = 16.0

    name: Literal["adan"] = "adan"
    betas: list[float] = three_betas(
        (0.98, 0.92, 0.99), "How long gradients, their differences and the squares of both are remembered."
    )
    weight_decay: float = weight_decay()
    weight_decouple: bool = decoupled_decay(False)
    adanorm: bool = adanorm()
    adanorm_r: float = adanorm_r()
    eps: float = epsilon()

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from pytorch_optimizer import Adan

        beta_1, beta_2, beta_3 = self.betas
        return Adan(
            groups,
            betas=(beta_1, beta_2, beta_3),
            weight_decay=self.weight_decay,
            weight_decouple=self.weight_decouple,
            eps=self.eps,
            adanorm=self.adanorm,
            adanorm_r=self.adanorm_r,
        )
