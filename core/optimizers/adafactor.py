"""Adafactor, from transformers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.contracts import Part
from core.errors import Problem
from core.optimizers._library import LibraryOptimizer
from core.optimizers._settings import weight_decay
from core.optimizers._zero_rates import leaving_out_zero_rates
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Adafactor(LibraryOptimizer):
    """Keeps rows and columns of its state, not each number: hardly any memory (Shazeer and Stern 2018)."""

    label: ClassVar[str] = "Adafactor"
    programs_call_it: ClassVar[tuple[str, ...]] = ("Adafactor", "ADAFACTOR", "AdaFactor")
    fused_backward: ClassVar[bool] = True
    library: ClassVar[str] = "transformers"
    module: ClassVar[str] = "transformers"
    state_bytes_per_weight: ClassVar[float] = 0.0625

    name: Literal["adafactor"] = "adafactor"
    relative_step: bool = setting(
        False,
        "Own learning rate",
        "Adafactor sets the rate by itself; learning rates and schedule then have no effect. kohya has this on.",
    )
    warmup_init: bool = setting(
        False,
        "Slow start",
        "Its own rate begins near zero and grows over the first 10,000 steps.",
        shown_if={"relative_step": [True]},
        level="advanced",
    )
    scale_parameter: bool = setting(
        False,
        "Scale by weights",
        "Multiplies the rate with the size of each tensor's weights. A LoRA begins with tensors of zeros, "
        "which then move slowly.",
        level="advanced",
    )
    clip_threshold: float = setting(
        1.0, "Clip updates at", "Larger updates of a tensor are scaled down to this.", gt=0, level="advanced"
    )
    decay_rate: float = setting(
        -0.8,
        "Decay rate",
        "How fast old gradients are forgotten: power of the step; nearer to 0 forgets faster.",
        le=0,
        ge=-1,
        level="advanced",
    )
    beta1: float = setting(
        0.0,
        "Momentum",
        "How long gradients are remembered; 0 is not at all. Any other needs 4 bytes more for each weight.",
        ge=0,
        lt=1,
        level="advanced",
    )
    weight_decay: float = weight_decay()
    eps: float = setting(
        1e-30, "Epsilon", "Keeps the division stable.", gt=0, level="advanced", also=("eps", "epsilon1")
    )
    scale_eps: float = setting(
        1e-3,
        "Least scale",
        "Tensors whose weights are smaller than this move as if they were of this size.",
        gt=0,
        shown_if={"scale_parameter": [True]},
        level="advanced",
        also=("eps2",),
    )

    def check(self) -> Iterator[Problem]:
        if self.warmup_init and not self.relative_step:
            yield Problem("warmup_init", "needs Adafactor's own learning rate (relative_step)")

    def state_bytes(self) -> float:
        return self.state_bytes_per_weight + (4.0 if self.beta1 else 0.0)

    def keeps_own_rate(self) -> bool:
        return self.relative_step

    def check_rates(self, rates: Mapping[Part, float]) -> Iterator[Problem]:
        if not self.relative_step:
            yield from super().check_rates(rates)

    def effective_rate(self, optimizer: Optimizer, group: Mapping[str, Any]) -> float:
        """As transformers' AdafactorSchedule tells it: that of the group's first tensor; 0 before its first step."""
        stepped = (optimizer.state[weight] for weight in group["params"] if optimizer.state.get(weight))
        state = next(stepped, None)
        if state is None:
            return 0.0 if self.relative_step else float(group["lr"])
        return float(optimizer._get_lr(group, state))  # type: ignore[attr-defined]

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from transformers.optimization import Adafactor

        return leaving_out_zero_rates(Adafactor)(
            groups,
            lr=None,  # each group brings its own; with relative_step it is not looked at
            eps=(self.eps, self.scale_eps),
            clip_threshold=self.clip_threshold,
            decay_rate=self.decay_rate,
            beta1=self.beta1 or None,
            weight_decay=self.weight_decay,
            scale_parameter=self.scale_parameter,
            relative_step=self.relative_step,
            warmup_init=self.warmup_init,
        )
