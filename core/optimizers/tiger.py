"""Tiger, from pytorch_optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.optimizers._collection import CollectionOptimizer, fixed_decay
from core.optimizers._settings import decoupled_decay, weight_decay
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Tiger(CollectionOptimizer):
    """Lion with one beta: follows the sign of the remembered gradient, with half of AdamW's state.

    Tiger: A Tight-fisted Optimizer, Su 2023.
    """

    label: ClassVar[str] = "Tiger"
    programs_call_it: ClassVar[tuple[str, ...]] = ("TIGER", "Tiger")
    state_bytes_per_weight: ClassVar[float] = 4.0
    usual_rate: ClassVar[float] = 3e-5

    name: Literal["tiger"] = "tiger"
    beta: float = setting(
        0.965, "Beta", "How long gradients are remembered.", ge=0, lt=1, level="advanced", also=("beta1",)
    )
    weight_decay: float = weight_decay(0.01)
    weight_decouple: bool = decoupled_decay(True)
    fixed_decay: bool = fixed_decay()

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from pytorch_optimizer import Tiger

        return Tiger(
            groups,
            beta=self.beta,
            weight_decay=self.weight_decay,
            weight_decouple=self.weight_decouple,
            fixed_decay=self.fixed_decay,
        )
