"""SOAP, from pytorch_optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._collection import CollectionOptimizer
from core.optimizers._settings import adams_betas, check_betas, epsilon, weight_decay
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Soap(CollectionOptimizer):
    """Adam along the axes in which gradients vary most: fewer steps to the goal, each with more work and memory.

    Its first step only looks at the gradients; nothing moves. State grows with the squares of a tensor's sides.
    SOAP: Improving and Stabilizing Shampoo using Adam, Vyas et al. 2024, algorithm 3.
    """

    label: ClassVar[str] = "SOAP"
    programs_call_it: ClassVar[tuple[str, ...]] = ("SOAP",)
    state_bytes_per_weight: ClassVar[float] = 8.2

    name: Literal["soap"] = "soap"
    betas: list[float] = adams_betas((0.95, 0.95))
    shampoo_beta: float = setting(
        0.95, "Axes memory", "How long the axes of the gradients are remembered.", ge=0, lt=1, level="advanced"
    )
    weight_decay: float = weight_decay(0.01)
    precondition_frequency: int = setting(
        10, "New axes every", "How often the axes are found anew.", ge=1, unit="steps", level="advanced"
    )
    max_precondition_dim: int = setting(
        512,
        "Longest side with axes",
        "Sides of a tensor that are longer keep Adam's own axes. A side of n needs n x n x 8 bytes, so that for a LoRA "
        "the library's own default of 10000 would cost hundreds of bytes for each weight.",
        ge=1,
        level="advanced",
    )
    precondition_1d: bool = setting(False, "Axes of vectors", "Biases and norms have axes, too.", level="advanced")
    correct_bias: bool = setting(
        True, "Bias correction", "Adam's: the first steps have their full length.", level="advanced"
    )
    normalize_gradient: bool = setting(
        False, "Normalise steps", "Each tensor's step is brought to one length.", level="advanced"
    )
    eps: float = epsilon()

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from pytorch_optimizer import SOAP

        beta_1, beta_2 = self.betas
        return SOAP(
            groups,
            betas=(beta_1, beta_2),
            shampoo_beta=self.shampoo_beta,
            weight_decay=self.weight_decay,
            precondition_frequency=self.precondition_frequency,
            max_precondition_dim=self.max_precondition_dim,
            precondition_1d=self.precondition_1d,
            correct_bias=self.correct_bias,
            normalize_gradient=self.normalize_gradient,
            eps=self.eps,
        )
