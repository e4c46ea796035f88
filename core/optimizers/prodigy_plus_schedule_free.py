"""Prodigy and schedule-free averaging in one, from prodigy-plus-schedule-free."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._adaptive_rate import AdaptiveRate, first_d
from core.optimizers._schedule_free import check_interpolation, keeping_weights
from core.optimizers._settings import adams_betas, bias_correction, check_betas, epsilon, weight_decay
from core.optimizers._zero_rates import named_as
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer

log = logging.getLogger(__name__)


@cache
def _adapted(cls: Any) -> Any:
    """A class that is `cls`, but logs what that prints, and leaves weights whose rate is 0 where they are."""

    class Adapted(cls):
        def log(self, message: str) -> None:
            log.info(message)

        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                for weight in group["params"] if group["lr"] == 0 else ():
                    weight.grad = None
            return super().step(closure)

    return named_as(Adapted, cls)


class ProdigyPlusScheduleFree(AdaptiveRate):
    """Prodigy that needs no schedule and half of AdamW's memory: rates 1, schedule constant, max_grad_norm 0.

    Follows Prodigy (Mishchenko and Defazio 2024) and The Road Less Scheduled (Defazio et al. 2024). Each group finds a
    rate of its own, unless `split_groups` is off.
    """

    label: ClassVar[str] = "Prodigy Plus, schedule-free"
    programs_call_it: ClassVar[tuple[str, ...]] = ("ProdigyPlusScheduleFree", "PRODIGY_PLUS_SCHEDULE_FREE")
    library: ClassVar[str] = "prodigy-plus-schedule-free"
    module: ClassVar[str] = "prodigyplus"
    schedule_free: ClassVar[bool] = True
    state_bytes_per_weight: ClassVar[float] = 4 + 0.06 + 4 / 11

    name: Literal["prodigy_plus_schedule_free"] = "prodigy_plus_schedule_free"
    d_coef: float = setting(
        1.0, "D coefficient", "Multiplies the rate that it finds; 0.5 to 2 is usual, lower is more careful.", gt=0
    )
    d0: float = first_d()
    d_limiter: bool = setting(
        True,
        "Limit growth",
        "The rate grows by no more than a fifth at a step, so that rough gradients at the beginning don't mislead it.",
        level="advanced",
    )
    prodigy_steps: int = setting(
        0,
        "Find until",
        "After so many steps the rate stays as it is, and what was kept to find it is given back; 0 is never.",
        ge=0,
        unit="steps",
        level="advanced",
    )
    use_speed: bool = setting(
        False,
        "SPEED",
        "Finds the rate in another way, by how steadily weights move. Experimental; goes badly with weight decay.",
        level="advanced",
    )
    split_groups: bool = setting(
        True, "A rate for each group", "Each part finds a rate of its own; off, one is found for all, as Prodigy's."
    )
    split_groups_mean: bool = setting(
        False,
        "Mean rate",
        "All parts use the (harmonic) mean of the rates that they found.",
        shown_if={"split_groups": [True]},
        level="advanced",
    )
    use_schedulefree: bool = setting(
        True, "Schedule-free", "Averages the weights, and so needs no schedule; off, set the schedule to cosine."
    )
    schedulefree_c: float = setting(
        0.0,
        "Averaging window",
        "Averages over fewer of the last steps: 6 to 12 for short runs, 50 to 200 for long ones; 0 averages over all.",
        ge=0,
        shown_if={"use_schedulefree": [True]},
        level="advanced",
    )
    betas: list[float] = adams_betas((0.9, 0.99))
    beta3: float = setting(
        0.0,
        "Third beta",
        "How long the estimate of D is remembered; 0 is the root of the second.",
        ge=0,
        lt=1,
        level="advanced",
    )
    weight_decay: float = weight_decay()
    weight_decay_by_lr: bool = setting(
        True,
        "Decay follows rate",
        "Weight decay is multiplied with the rate, as AdamW's; off, it has to be far smaller.",
        level="advanced",
    )
    use_bias_correction: bool = bias_correction()
    factored: bool = setting(
        True,
        "Factored",
        "Keeps rows and columns of the squares, not each number, as Adafactor does; off needs 4 bytes more per weight.",
        level="advanced",
    )
    use_stableadamw: bool = setting(
        True, "Stable", "Shortens steps that are longer than usual, in place of clipping.", level="advanced"
    )
    atan2: bool = setting(
        False,
        "Adam-atan2",
        "Divides by atan2, so that epsilon isn't needed (Everett et al. 2024).",
        level="advanced",
        also=("use_atan2", "eps=None"),
    )
    eps: float = epsilon()
    use_cautious: bool = setting(
        False,
        "Cautious",
        "Leaves out what the step and the present gradient disagree on (Liang et al. 2024).",
        level="advanced",
    )
    use_grams: bool = setting(
        False, "Grams", "Takes directions from the present gradient alone (Cao et al. 2024).", level="advanced"
    )
    use_adopt: bool = setting(
        False, "ADOPT", "Divides by squares that don't hold the present gradient.", level="advanced"
    )
    use_orthograd: bool = setting(
        False,
        "Orthogonal gradients",
        "Leaves out what only makes weights longer or shorter; against overfitting.",
        level="advanced",
    )
    use_focus: bool = setting(
        False, "FOCUS", "Steps by signs, drawn to the mean of the weights; for rough gradients.", level="advanced"
    )

    def averages_weights(self) -> bool:
        return self.use_schedulefree

    def needs_one_rate(self) -> bool:
        return False

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)
        if self.use_schedulefree:
            yield from check_interpolation("betas.0", self.betas[0])
        if self.atan2 and self.use_stableadamw:
            yield Problem("use_stableadamw", "doesn't go with Adam-atan2 (atan2)", {"use_stableadamw": False})
        if self.use_cautious and not self.use_schedulefree:
            message = "needs schedule-free averaging (use_schedulefree): the library's steps are wrong without"
            yield Problem("use_cautious", message, {"use_cautious": False})
        if self.use_cautious and self.use_grams:
            yield Problem("use_grams", "doesn't go with cautious steps (use_cautious)", {"use_grams": False})
        if self.use_focus and self.factored:
            yield Problem("factored", "doesn't go with FOCUS (use_focus)", {"factored": False})
        if self.use_focus and self.atan2:
            yield Problem("atan2", "doesn't go with FOCUS (use_focus)", {"atan2": False})

    def state_bytes(self) -> float:
        """z or the remembered gradient, the squares, and of every eleventh weight two numbers in bf16."""
        return 4 + (0.06 if self.factored else 4) + (2 if self.use_speed else 4) / 11

    def effective_rate(self, optimizer: Optimizer, group: Mapping[str, Any]) -> float:
        """The rate times d, or times the mean of all groups' d."""
        return float(group["lr"]) * float((group["split_groups_mean"] and group["shared_d"]) or group["d"])

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from prodigyplus import ProdigyPlusScheduleFree

        own = {"name", "split_groups", "betas", "beta3", "eps", "atan2"}
        return keeping_weights(_adapted(ProdigyPlusScheduleFree))(
            groups,
            betas=(self.betas[0], self.betas[1]),
            beta3=self.beta3 or None,
            eps=None if self.atan2 else self.eps,
            # of one group there is nothing to split; the library prints a line about that
            split_groups=self.split_groups and len(groups) > 1,
            stochastic_rounding=False,  # Ochre's own is there for all optimizers: weights are fp32 in a step
            **self.model_dump(exclude=own),
        )
