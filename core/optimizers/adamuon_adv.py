"""AdaMuon_adv, from adv_optm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._adv import use_atan2
from core.optimizers._adv_matrices import AdvancedMuon
from core.optimizers._settings import adams_betas, check_betas, epsilon, weight_decay

if TYPE_CHECKING:
    from torch.optim import Optimizer


class AdaMuonAdv(AdvancedMuon):
    """Muon whose orthogonal steps are divided by their usual size, weight by weight, as AdamW's. AdamW's state.

    AdaMuon: Adaptive Muon Optimizer, Si et al. 2025, algorithm 1.
    """

    label: ClassVar[str] = "AdaMuon (advanced)"
    programs_call_it: ClassVar[tuple[str, ...]] = ("ADAMUON_ADV", "AdaMuon_adv")

    name: Literal["adamuon_adv"] = "adamuon_adv"
    betas: list[float] = adams_betas((0.95, 0.95))
    eps: float = epsilon()
    use_atan2: bool = use_atan2()
    weight_decay: float = weight_decay()

    def check(self) -> Iterator[Problem]:
        yield from super().check()
        yield from check_betas(self.betas)

    def state_bytes(self) -> float:
        return super().state_bytes() - 4.0 * self.normuon_variant  # a number for each row, not for each weight

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from adv_optm import AdaMuon_adv

        beta_1, beta_2 = self.betas
        return self.made(
            AdaMuon_adv,
            groups,
            betas=(beta_1, beta_2),
            eps=self.eps,
            use_atan2=self.use_atan2,
            weight_decay=self.weight_decay,
        )
