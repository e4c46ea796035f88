"""LAMB, from pytorch_optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._collection import CollectionOptimizer
from core.optimizers._settings import adams_betas, check_betas, decoupled_decay, epsilon, weight_decay

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Lamb(CollectionOptimizer):
    """AdamW whose steps are as long as the tensor's weights are large: for large batches (You et al. 2020, version 3).

    OneTrainer has bitsandbytes' LAMB, which never moves a tensor that begins as zeros, as half of a LoRA does, and
    whose 8-bit form has no code for GPUs any more. Here such a tensor moves as with Adam until it has a size.
    """

    label: ClassVar[str] = "LAMB"
    programs_call_it: ClassVar[tuple[str, ...]] = ("LAMB", "LAMB_8BIT", "LAMB8bit")
    usual_rate: ClassVar[float] = 1e-3

    name: Literal["lamb"] = "lamb"
    betas: list[float] = adams_betas()
    weight_decay: float = weight_decay()
    decouple: bool = decoupled_decay(True)
    eps: float = epsilon(1e-6)

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from pytorch_optimizer import Lamb

        return Lamb(
            groups,
            betas=(self.betas[0], self.betas[1]),
            weight_decay=self.weight_decay,
            weight_decouple=self.decouple,
            eps=self.eps,
            adam_debias=True,  # else the library makes the first step ten times as long
        )
