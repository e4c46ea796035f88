"""LoKr: the Kronecker product of a small matrix and a larger one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.networks._adapter import given
from core.networks._factored import Decomposable
from core.networks._norms import NormLimit
from core.networks._programs import REFUSED, loads
from core.networks._weights import StartFrom
from core.settings import setting

if TYPE_CHECKING:
    from torch import nn

    from core.networks._modules.change import Change


class Lokr(NormLimit, StartFrom, Decomposable):
    """The smallest files; with whole factors, nearly as able as a full finetune.

    Kronecker product (LyCORIS: Yeh et al. 2024, arXiv 2309.14859). A layer that the rank would not make smaller has
    a whole second factor; if the first is whole too, there is no alpha.
    """

    label: ClassVar[str] = "LoKr"
    algorithm: ClassVar[str] = "lokr"

    name: Literal["lokr"] = "lokr"
    factor: int = setting(
        -1,
        "Factor",
        "Size of the small matrix: each side of a layer is divided by the nearest number that fits, 4 to 16 are usual. "
        "-1: as evenly as possible, the smallest file.",
        ge=-1,
        le=1024,
    )
    full_matrix: bool = setting(False, "Whole factors", "Both matrices are trained whole, without rank and alpha.")
    decompose_both: bool = setting(
        False, "Decompose both", "The small matrix is of low rank too, where that is smaller.", level="advanced"
    )
    unbalanced_factorization: bool = setting(
        False,
        "Unbalanced",
        "Divides the outputs the other way round: the small matrix has the larger share of them.",
        level="advanced",
    )

    def check(self) -> Iterator[Problem]:
        yield from super().check()
        if self.factor == 0:
            yield Problem("factor", "must be -1 or at least 1 (it is 0)")
        if self.full_matrix and self.decompose_both:
            yield Problem("decompose_both", "has no effect with full_matrix; switch one of them off")

    def options(self) -> dict[str, Any]:
        return super().options() | {
            "factor": self.factor,
            "full_matrix": self.full_matrix,
            "decompose_both": self.decompose_both,
            "unbalanced_factorization": self.unbalanced_factorization,
        }

    def make(self, name: str, layer: nn.Module, rank: int, alpha: float) -> Change:
        from core.networks._modules.lokr import LokrChange

        return LokrChange(name, layer, lora_dim=rank, alpha=alpha, **self.options())

    def loads_in(self) -> dict[str, str]:
        guessed = self.decompose_both or self.unbalanced_factorization
        lycoris = {"LyCORIS": "Its loader guesses the factors, and fails where it guesses wrong."} if guessed else {}
        return loads(self.without_dora({"diffusers": REFUSED} | lycoris))

    def arguments(self) -> dict[str, Any]:
        named = ("full_matrix", "decompose_both", "unbalanced_factorization")
        return super().arguments() | {"factor": self.factor} | given({name: getattr(self, name) for name in named})
