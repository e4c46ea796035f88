"""MARS, from pytorch_optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._collection import CollectionOptimizer, ams_bound, cautious, fixed_decay
from core.optimizers._settings import adams_betas, check_betas, decoupled_decay, epsilon, weight_decay
from core.settings import setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Mars(CollectionOptimizer):
    """Corrects each gradient by its difference from the one before, which takes noise out. Half more state than AdamW.

    The step before is of another batch, as in the paper's approximate form: MARS: Unleashing the Power of Variance
    Reduction for Training Large Models, Yuan et al. 2024, algorithms 2 to 4.
    """

    label: ClassVar[str] = "MARS"
    programs_call_it: ClassVar[tuple[str, ...]] = ("MARS",)
    state_bytes_per_weight: ClassVar[float] = 12.0

    name: Literal["mars"] = "mars"
    mars_type: Literal["adamw", "lion", "shampoo"] = setting(
        "adamw",
        "Steps as",
        "How the corrected gradient becomes a step. Lion wants a third to a tenth of the rate; shampoo makes each "
        "matrix's step orthogonal, as Muon.",
    )
    gamma: float = setting(0.025, "Correction", "How strong the correction is; 0 is none.", ge=0, level="advanced")
    betas: list[float] = adams_betas((0.95, 0.99))
    weight_decay: float = weight_decay()
    weight_decouple: bool = decoupled_decay(True)
    fixed_decay: bool = fixed_decay()
    optimize_1d: bool = setting(
        False, "Vectors, too", "Biases and norms are corrected, too; off, they are left to AdamW.", level="advanced"
    )
    betas_1d: list[float] = setting(
        [0.9, 0.95],
        "Vectors' betas",
        "AdamW's betas for biases and norms.",
        min_length=2,
        max_length=2,
        shown_if={"optimize_1d": [False]},
        level="advanced",
    )
    weight_decay_1d: float = setting(
        0.1,
        "Vectors' weight decay",
        "Pulls biases and norms towards zero at each step.",
        ge=0,
        shown_if={"optimize_1d": [False]},
        level="advanced",
    )
    ams_bound: bool = ams_bound()
    cautious: bool = cautious()
    eps: float = epsilon()

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)
        yield from check_betas(self.betas_1d, "betas_1d")

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from pytorch_optimizer import MARS

        (beta_1, beta_2), (beta_1_1d, beta_2_1d) = self.betas, self.betas_1d
        return MARS(
            groups,
            # the library takes vectors' rate for a multiple of the matrices': here both have their group's
            lr=1.0,
            lr_1d=1.0,
            betas=(beta_1, beta_2),
            gamma=self.gamma,
            mars_type=self.mars_type,
            optimize_1d=self.optimize_1d,
            betas_1d=(beta_1_1d, beta_2_1d),
            weight_decay=self.weight_decay,
            weight_decay_1d=self.weight_decay_1d,
            weight_decouple=self.weight_decouple,
            fixed_decay=self.fixed_decay,
            ams_bound=self.ams_bound,
            cautious=self.cautious,
            eps=self.eps,
        )
