"""AdamW with its state in 8 bits, from bitsandbytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._bitsandbytes import BitsAndBytes, in_8_bits, min_8bit_size, paged
from core.optimizers._settings import adams_betas, check_betas, epsilon, weight_decay
from core.settings.bases import OptimizerConfig


class AdamW8bit(BitsAndBytes):
    """AdamW with a quarter of its state: saves memory where much is trained (Dettmers et al. 2022).

    Small tensors keep 32-bit state, and a small LoRA has hardly any others: there it saves little.
    """

    label: ClassVar[str] = "AdamW 8-bit"
    programs_call_it: ClassVar[tuple[str, ...]] = ("AdamW8bit", "ADAMW_8BIT", "PagedAdamW8bit")
    state_bytes_per_weight: ClassVar[float] = in_8_bits(2)
    theirs: ClassVar[str] = "AdamW8bit"

    name: Literal["adamw8bit"] = "adamw8bit"
    betas: list[float] = adams_betas()
    weight_decay: float = weight_decay(0.01)
    eps: float = epsilon()
    min_8bit_size: int = min_8bit_size()
    paged: bool = paged()

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
            "min_8bit_size": self.min_8bit_size,
            "is_paged": self.paged,
        }
