"""SignSGD_adv, from adv_optm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.optimizers._adv import FactoredState, nesterov, readable, settled
from core.optimizers._settings import weight_decay
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class SignSGDAdv(FactoredState):
    """Follows the sign of the remembered gradient (Signum). Wants a third to a tenth of AdamW's rate.

    signSGD: Compressed Optimisation for Non-Convex Problems, Bernstein et al. 2018, algorithm 2.
    """

    label: ClassVar[str] = "SignSGD (advanced)"
    programs_call_it: ClassVar[tuple[str, ...]] = ("SIGNSGD_ADV", "SignSGD_adv")
    state_bytes_per_weight: ClassVar[float] = 4.0
    usual_rate: ClassVar[float] = 3e-5

    name: Literal["signsgd_adv"] = "signsgd_adv"
    momentum: float = setting(
        0.9, "Momentum", "How long gradients are remembered; 0 is not at all.", ge=0, lt=1, level="advanced"
    )
    weight_decay: float = weight_decay()
    nesterov: bool = nesterov()

    def state_bytes(self) -> float:
        return super().state_bytes() if self.momentum else 0.0

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from adv_optm import SignSGD_adv

        return settled(
            SignSGD_adv(
                readable(groups),
                momentum=self.momentum,
                weight_decay=self.weight_decay,
                nesterov=self.nesterov,
                state_precision=self.precision(),
                **self.shared(),
            )
        )
