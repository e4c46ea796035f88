"""AdamW, torch's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._settings import adams_betas, check_betas
from core.settings import setting
from core.settings.bases import OptimizerConfig

if TYPE_CHECKING:
    from torch.optim import Optimizer


class AdamW(OptimizerConfig):
    """The usual choice: reliable, with two numbers of state for each weight (Loshchilov and Hutter 2019)."""

    label: ClassVar[str] = "AdamW"

    name: Literal["adamw"] = "adamw"
    betas: list[float] = adams_betas()
    weight_decay: float = setting(
        0.01, "Weight decay", "Pulls weights towards zero at each step.", ge=0, level="advanced"
    )
    eps: float = setting(1e-8, "Epsilon", "Keeps the division stable.", gt=0, level="advanced")

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from torch.optim import AdamW

        beta_1, beta_2 = self.betas
        # one kernel for all weights: a LoRA's many small tensors take six times as long one by one on a CPU
        fused = all(weight.device.type in ("cpu", "cuda") for group in groups for weight in group["params"])
        return AdamW(groups, betas=(beta_1, beta_2), weight_decay=self.weight_decay, eps=self.eps, fused=fused)
