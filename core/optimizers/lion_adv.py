"""Lion_adv, from adv_optm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._adv import FactoredState, readable, settled
from core.optimizers._settings import check_betas, weight_decay
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class LionAdv(FactoredState):
    """Lion with newer ideas to choose from; with factored state it needs hardly any memory."""

    label: ClassVar[str] = "Lion (advanced)"
    programs_call_it: ClassVar[tuple[str, ...]] = ("LION_ADV", "Lion_adv")
    state_bytes_per_weight: ClassVar[float] = 4.0
    usual_rate: ClassVar[float] = 3e-5

    name: Literal["lion_adv"] = "lion_adv"
    betas: list[float] = setting(
        [0.9, 0.99],
        "Betas",
        "How much of the remembered gradient goes into a step, and how long it is remembered.",
        level="advanced",
        min_length=2,
        max_length=2,
        also=("beta1", "beta2"),
    )
    weight_decay: float = weight_decay()
    auto_kappa_p: bool = setting(
        False,
        "Convolutions keep direction",
        "Steps of convolutions follow the gradient's direction, not its signs, at the same length. On in OneTrainer.",
        level="advanced",
    )

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from adv_optm import Lion_adv

        beta_1, beta_2 = self.betas
        return settled(
            Lion_adv(
                readable(groups),
                betas=(beta_1, beta_2),
                weight_decay=self.weight_decay,
                auto_kappa_p=self.auto_kappa_p,
                nnmf_factor=self.nnmf_factor,
                **self.shared(),
            )
        )
