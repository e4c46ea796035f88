"""Prodigy_adv, from adv_optm."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._adaptive_rate import AdaptiveRate, check_growth, first_d, growth_rate
from core.optimizers._adv import KourkoutasBeta, readable, settled, use_atan2
from core.optimizers._settings import adams_betas, check_betas, epsilon, weight_decay
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class ProdigyAdv(KourkoutasBeta, AdaptiveRate):
    """Prodigy with newer ideas to choose from: finds the learning rate by itself; set the rates to 1.

    Unlike other forms of Prodigy it bears groups of different rates, which are then multiples of the one that it finds.
    """

    label: ClassVar[str] = "Prodigy (advanced)"
    programs_call_it: ClassVar[tuple[str, ...]] = ("PRODIGY_ADV", "Prodigy_adv")
    state_bytes_per_weight: ClassVar[float] = 8.0 + 8.0 / 11
    fused_backward: ClassVar[bool] = False

    name: Literal["prodigy_adv"] = "prodigy_adv"
    d_coef: float = setting(
        1.0, "D coefficient", "Multiplies the rate that it finds; 0.5 to 2 is usual, lower is more careful.", gt=0
    )
    d0: float = first_d()
    growth_rate: float = growth_rate()
    d_limiter: bool = setting(False, "Limit D", "The rate grows by no more than a fifth at a step.", level="advanced")
    prodigy_steps: int = setting(
        0,
        "Look until",
        "After so many steps the rate stays as it is, and the memory for finding it is given back; 0: never.",
        ge=0,
        unit="steps",
        level="advanced",
    )
    safeguard_warmup: bool = setting(
        False,
        "Safe with warm-up",
        "Keeps the schedule's warm-up from making the rate too high. Switch it on when there is a warm-up.",
        level="advanced",
    )
    slice_p: int = setting(
        11,
        "Look at every",
        "The rate is found from every so many weights; 1 is exact, for almost twice the state.",
        ge=1,
        le=1000,
        unit="weights",
        level="advanced",
    )
    betas: list[float] = adams_betas()
    beta3: float = setting(
        0.0,
        "D's beta",
        "How long what the rate is found from is remembered; 0: the root of the second beta.",
        ge=0,
        lt=1,
        level="advanced",
    )
    weight_decay: float = weight_decay()
    eps: float = epsilon()
    use_atan2: bool = use_atan2()

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)
        yield from check_growth(self.growth_rate)
        yield from self.check_kourkoutas(self.betas[1])

    def needs_one_rate(self) -> bool:
        return False

    def state_bytes(self) -> float:
        return (0.25 if self.nnmf_factor else 8.0) + 8.0 / self.slice_p

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from adv_optm import Prodigy_adv

        beta_1, beta_2 = self.betas
        optimizer = Prodigy_adv(
            readable(groups),
            betas=(beta_1, beta_2),
            beta3=self.beta3 or math.sqrt(beta_2),
            eps=self.eps,
            weight_decay=self.weight_decay,
            use_atan2=self.use_atan2,
            d0=self.d0,
            d_coef=self.d_coef,
            growth_rate=self.growth_rate or math.inf,
            d_limiter=self.d_limiter,
            prodigy_steps=self.prodigy_steps,
            safeguard_warmup=self.safeguard_warmup,
            slice_p=self.slice_p,
            state_precision=self.precision(),
            **self.shared(),
            **self.kourkoutas(),
        )
        optimizer.register_load_state_dict_post_hook(_sums_from_groups)
        return settled(optimizer)


def _sums_from_groups(optimizer: Any) -> None:
    """Let the sums of a step that begins follow from a loaded state as they follow from a step that ended.

    Else the library would forget to let the numerator fade at the first step after a restart.
    """
    import torch

    optimizer.d_denom = torch.tensor(0.0, device=optimizer.device)
    optimizer.init_step()
