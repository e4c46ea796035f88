"""Adopt_adv, from adv_optm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._adv import KourkoutasBeta, readable, settled, use_atan2
from core.optimizers._settings import adams_betas, check_betas, epsilon, weight_decay

if TYPE_CHECKING:
    from torch.optim import Optimizer


class AdoptAdv(KourkoutasBeta):
    """ADOPT with newer ideas to choose from; with factored state it needs hardly any memory.

    Its first step only looks at the gradients; with Adam-atan2 (OneTrainer's default) it moves, too.
    """

    label: ClassVar[str] = "ADOPT (advanced)"
    programs_call_it: ClassVar[tuple[str, ...]] = ("ADOPT_ADV", "Adopt_adv")

    name: Literal["adopt_adv"] = "adopt_adv"
    betas: list[float] = adams_betas((0.9, 0.9999))
    weight_decay: float = weight_decay()
    eps: float = epsilon(1e-6)
    use_atan2: bool = use_atan2()

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)
        yield from self.check_kourkoutas(self.betas[1])

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from adv_optm import Adopt_adv

        beta_1, beta_2 = self.betas
        return settled(
            Adopt_adv(
                readable(groups),
                betas=(beta_1, beta_2),
                eps=self.eps,
                weight_decay=self.weight_decay,
                use_atan2=self.use_atan2,
                state_precision=self.precision(),
                **self.shared(),
                **self.kourkoutas(),
            )
        )
