"""StableAdamW, from pytorch_optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._collection import CollectionOptimizer
from core.optimizers._settings import adams_betas, check_betas, decoupled_decay, epsilon, weight_decay

if TYPE_CHECKING:
    from torch.optim import Optimizer


class StableAdamW(CollectionOptimizer):
    """AdamW that shortens its step where gradients suddenly grow: no spikes, and no need to clip gradients.

    Stable and low-precision training for large-scale vision-language models, Wortsman et al. 2023, algorithm 2.
    """

    label: ClassVar[str] = "StableAdamW"
    programs_call_it: ClassVar[tuple[str, ...]] = ("StableAdamW",)

    name: Literal["stable_adamw"] = "stable_adamw"
    betas: list[float] = adams_betas((0.9, 0.99))
    weight_decay: float = weight_decay(0.01)
    weight_decouple: bool = decoupled_decay(True)
    eps: float = epsilon()

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from pytorch_optimizer import StableAdamW

        beta_1, beta_2 = self.betas
        return StableAdamW(
            groups,
            betas=(beta_1, beta_2),
            kahan_sum=False,  # for low precision, where stochastic rounding does the same without a third of the state
            weight_decay=self.weight_decay,
            weight_decouple=self.weight_decouple,
            eps=self.eps,
        )
