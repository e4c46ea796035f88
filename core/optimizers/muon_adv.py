"""Muon_adv, from adv_optm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.optimizers._adv_matrices import AdvancedMuon
from core.optimizers._settings import weight_decay
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class MuonAdv(AdvancedMuon):
    """Muon with newer ideas to choose from. Each matrix is made orthogonal by itself."""

    label: ClassVar[str] = "Muon (advanced)"
    programs_call_it: ClassVar[tuple[str, ...]] = ("MUON_ADV", "Muon_adv")
    state_bytes_per_weight: ClassVar[float] = 4.0

    name: Literal["muon_adv"] = "muon_adv"
    momentum: float = setting(
        0.95, "Momentum", "How long gradients are remembered.", ge=0, lt=1, level="advanced", also=("beta1",)
    )
    beta2_normuon: float = setting(
        0.95,
        "NorMuon's beta",
        "How long the rows' sizes are remembered.",
        ge=0,
        lt=1,
        shown_if={"normuon_variant": [True]},
        level="advanced",
    )
    weight_decay: float = weight_decay()

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from adv_optm import Muon_adv

        return self.made(
            Muon_adv, groups, beta1=self.momentum, beta2_normuon=self.beta2_normuon, weight_decay=self.weight_decay
        )
