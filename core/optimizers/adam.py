"""Adam, torch's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._settings import adams_betas, amsgrad, check_betas, epsilon, weight_decay
from core.optimizers._torch import in_one_kernel
from core.settings.bases import OptimizerConfig

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Adam(OptimizerConfig):
    """As AdamW, but weight decay is added to the gradient, where it hardly counts (Kingma and Ba 2015)."""

    label: ClassVar[str] = "Adam"
    programs_call_it: ClassVar[tuple[str, ...]] = ("Adam", "ADAM")
    fused_backward: ClassVar[bool] = True

    name: Literal["adam"] = "adam"
    betas: list[float] = adams_betas()
    weight_decay: float = weight_decay()
    eps: float = epsilon()
    amsgrad: bool = amsgrad()

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)

    def state_bytes(self) -> float:
        return 12.0 if self.amsgrad else 8.0

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from torch.optim import Adam

        beta_1, beta_2 = self.betas
        return Adam(
            groups,
            betas=(beta_1, beta_2),
            weight_decay=self.weight_decay,
            eps=self.eps,
            amsgrad=self.amsgrad,
            fused=in_one_kernel(groups),
        )
