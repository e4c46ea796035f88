"""FAdam, from pytorch_optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._collection import CollectionOptimizer
from core.optimizers._settings import adams_betas, check_betas, epsilon, weight_decay
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class FAdam(CollectionOptimizer):
    """Adam derived anew from natural gradients, with its own clipping and weight decay.

    FAdam: Adam is a natural gradient optimizer using diagonal empirical Fisher information, Hwang 2024, algorithm 1.
    """

    label: ClassVar[str] = "FAdam"
    programs_call_it: ClassVar[tuple[str, ...]] = ("FAdam",)

    name: Literal["fadam"] = "fadam"
    betas: list[float] = adams_betas()
    weight_decay: float = weight_decay(0.1)
    clip: float = setting(
        1.0,
        "Clip steps at",
        "Steps and decay of a tensor that are longer are scaled down to this.",
        gt=0,
        level="advanced",
    )
    p: float = setting(
        0.5, "Power", "Of the Fisher information: 0.5 is Adam's square root.", gt=0, le=1, level="advanced"
    )
    eps: float = epsilon()
    eps_2: float = setting(
        0.01, "Second epsilon", "Epsilon grows with the gradients, times this.", ge=0, level="advanced"
    )

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from pytorch_optimizer import FAdam

        beta_1, beta_2 = self.betas
        return FAdam(
            groups,
            betas=(beta_1, beta_2),
            weight_decay=self.weight_decay,
            clip=self.clip,
            p=self.p,
            eps=self.eps,
            eps_2=self.eps_2,
        )
