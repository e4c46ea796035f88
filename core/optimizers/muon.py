"""Muon, from pytorch_optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._matrices import MatrixOptimizer
from core.optimizers._settings import check_betas, epsilon, weight_decay
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Muon(MatrixOptimizer):
    """Makes each matrix's step orthogonal: all directions are learned alike. Half of AdamW's state.

    Muon: An optimizer for hidden layers in neural networks, Jordan et al. 2024; with rates as AdamW's (0.2 times the
    root of the longer side), Muon is Scalable for LLM Training, Liu et al. 2025, equation 4. Matrices of one shape are
    made orthogonal together, which is far quicker for a LoRA's many.
    """

    label: ClassVar[str] = "Muon"
    library: ClassVar[str] = "pytorch_optimizer"
    module: ClassVar[str] = "pytorch_optimizer"
    programs_call_it: ClassVar[tuple[str, ...]] = ("MUON", "Muon")
    state_bytes_per_weight: ClassVar[float] = 4.0

    name: Literal["muon"] = "muon"
    momentum: float = setting(
        0.95, "Momentum", "How long gradients are remembered.", ge=0, lt=1, level="advanced", also=("beta1",)
    )
    nesterov: bool = setting(True, "Nesterov", "The present gradient counts once more in each step.", level="advanced")
    weight_decay: float = weight_decay()
    ns_steps: int = setting(
        5, "Newton-Schulz steps", "How exactly steps are made orthogonal.", ge=1, le=20, level="advanced"
    )
    ns_coeffs: Literal["original", "quintic", "polar_express", "polar_express_safer"] = setting(
        "original",
        "Coefficients",
        "How steps are made orthogonal: original is Jordan's, polar_express more exact.",
        level="advanced",
    )
    adam_betas: list[float] = setting(
        [0.9, 0.95],
        "Adam's betas",
        "How long Adam remembers gradients and their squares.",
        min_length=2,
        max_length=2,
        level="advanced",
        also=("muon_adam_config",),
    )
    adam_weight_decay: float = setting(
        0.0, "Adam's weight decay", "Pulls what Adam trains towards zero at each step.", ge=0, level="advanced"
    )
    adam_eps: float = epsilon(1e-10)

    def check(self) -> Iterator[Problem]:
        yield from super().check()
        yield from check_betas(self.adam_betas, "adam_betas")

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from pytorch_optimizer import Muon

        beta_1, beta_2 = self.adam_betas
        return Muon(
            [{**group, "use_muon": matrices} for group, matrices in self.split(groups)],
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            ns_steps=self.ns_steps,
            ns_coeffs=self.ns_coeffs,
            use_adjusted_lr=self.rms_rescaling,
            adamw_betas=(beta_1, beta_2),
            adamw_wd=self.adam_weight_decay,
            adamw_eps=self.adam_eps,
        )
