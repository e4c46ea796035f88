"""What the Muons of adv_optm have in common."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from core.errors import Problem
from core.optimizers._adv import AdvancedOptimizer, nesterov, readable, settled
from core.optimizers._matrices import MatrixOptimizer
from core.optimizers._settings import check_betas
from core.optimizers._zero_rates import named_as
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class AdvancedMuon(AdvancedOptimizer, MatrixOptimizer):
    """A Muon of adv_optm, with AdamW for all that is no matrix."""

    nesterov: bool = nesterov(True)
    ns_steps: int = setting(
        5, "Newton-Schulz steps", "How exactly steps are made orthogonal.", ge=1, le=20, level="advanced"
    )
    accelerated_ns: bool = setting(
        False,
        "Chebyshev coefficients",
        "Steps are made orthogonal more exactly (CANS, Grishina et al. 2025).",
        level="advanced",
    )
    low_rank_ortho: bool = setting(
        False,
        "Low rank",
        "Steps are made orthogonal in fewer dimensions: quicker for large matrices. A LoRA's are small already.",
        level="advanced",
    )
    ortho_rank: int = setting(
        128,
        "Dimensions",
        "In how many dimensions steps are made orthogonal.",
        ge=1,
        shown_if={"low_rank_ortho": [True]},
        level="advanced",
    )
    normuon_variant: bool = setting(
        False,
        "NorMuon",
        "Each row of a step is brought to its usual size (Li et al. 2025). On in OneTrainer.",
        level="advanced",
    )
    approx_mars: bool = setting(
        False,
        "MARS",
        "Corrects each gradient by its difference from the one before; 4 bytes more for each weight.",
        level="advanced",
    )
    mars_gamma: float = setting(
        0.025,
        "MARS correction",
        "How strong the correction is.",
        ge=0,
        shown_if={"approx_mars": [True]},
        level="advanced",
    )
    adam_betas: list[float] = setting(
        [0.9, 0.99],
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
    adam_eps: float = setting(1e-8, "Adam's epsilon", "Keeps Adam's division stable.", gt=0, level="advanced")

    def check(self) -> Iterator[Problem]:
        yield from super().check()
        yield from check_betas(self.adam_betas, "adam_betas")

    def state_bytes(self) -> float:
        return self.state_bytes_per_weight + 4.0 * self.approx_mars

    def made(self, cls: type[Any], groups: list[dict[str, Any]], **own: Any) -> Optimizer:
        """The library's optimizer; own: the arguments of this one."""
        beta_1, beta_2 = self.adam_betas
        return settled(
            (_drawing_by_step(cls) if self.low_rank_ortho else cls)(
                readable([{**group, "use_muon": matrices} for group, matrices in self.split(groups)]),
                **own,
                **self.shared(),
                nesterov=self.nesterov,
                ns_steps=self.ns_steps,
                accelerated_ns=self.accelerated_ns,
                low_rank_ortho=self.low_rank_ortho,
                ortho_rank=self.ortho_rank,
                rms_rescaling=self.rms_rescaling,
                normuon_variant=self.normuon_variant,
                approx_mars=self.approx_mars,
                mars_gamma=self.mars_gamma,
                adam_betas=(beta_1, beta_2),
                adam_weight_decay=self.adam_weight_decay,
                adam_eps=self.adam_eps,
                adam_orthogonal_gradient=self.orthogonal_gradient,
                state_precision="fp32",
                adam_state_precision="fp32",
            )
        )


@cache
def _drawing_by_step(cls: type[Any]) -> type[Any]:
    """A class that is `cls`, whose draws of a step hang on how many steps a weight has taken, and on nothing else.

    The library goes on with one generator for all weights and runs, which no backup holds.
    """

    class Drawing(cls):
        def step_parameter(self, p: Any, group: dict[str, Any], i: int | None = None) -> None:
            from adv_optm.util.param_update import get_generator

            if p.grad is not None:
                steps = self.state[p]["steps"] = self.state[p].get("steps", 0) + 1
                get_generator(p.device).manual_seed(steps)
            super().step_parameter(p, group, i)

    return named_as(Drawing, cls)
