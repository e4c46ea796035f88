"""AdamW whose state leaves a full GPU, from bitsandbytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._bitsandbytes import BitsAndBytes
from core.optimizers._settings import adams_betas, check_betas, epsilon, weight_decay
from core.settings.bases import OptimizerConfig


class PagedAdamW(BitsAndBytes):
    """AdamW whose state moves to the computer's memory when the GPU's is full, instead of an error."""

    label: ClassVar[str] = "AdamW, paged"
    programs_call_it: ClassVar[tuple[str, ...]] = ("PagedAdamW", "PagedAdamW32bit")
    state_bytes_per_weight: ClassVar[float] = 8.0
    theirs: ClassVar[str] = "PagedAdamW"

    name: Literal["paged_adamw"] = "paged_adamw"
    betas: list[float] = adams_betas()
    weight_decay: float = weight_decay(0.01)
    eps: float = epsilon()

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)

    @classmethod
    def like(cls) -> OptimizerConfig:
        from core.optimizers.adamw import AdamW

        return AdamW()

    def arguments(self) -> dict[str, Any]:
        return {
            "betas": tuple(self.betas),
            "weight_decay": self.weight_decay,
            "eps": self.eps,
        }
