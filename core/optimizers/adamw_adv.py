"""AdamW_adv, from adv_optm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._adv import KourkoutasBeta, nesterov, readable, settled, use_atan2
from core.optimizers._settings import adams_betas, check_betas, epsilon, weight_decay
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class AdamWAdv(KourkoutasBeta):
    """AdamW with newer ideas to choose from; with factored state it needs hardly any memory."""

    label: ClassVar[str] = "AdamW (advanced)"
    programs_call_it: ClassVar[tuple[str, ...]] = ("ADAMW_ADV", "AdamW_adv")

    name: Literal["adamw_adv"] = "adamw_adv"
    betas: list[float] = adams_betas()
    weight_decay: float = weight_decay()
    eps: float = epsilon()
    use_bias_correction: bool = setting(
        True, "Bias correction", "Adam's: the first steps have their full length.", level="advanced"
    )
    use_atan2: bool = use_atan2()
    nesterov: bool = nesterov()

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)
        yield from self.check_kourkoutas(self.betas[1])

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from adv_optm import AdamW_adv

        beta_1, beta_2 = self.betas
        return settled(
            AdamW_adv(
                readable(groups),
                betas=(beta_1, beta_2),
                eps=self.eps,
                weight_decay=self.weight_decay,
                use_bias_correction=self.use_bias_correction,
                use_atan2=self.use_atan2,
                nesterov=self.nesterov,
                state_precision=self.precision(),
                **self.shared(),
                **self.kourkoutas(),
            )
        )
