"""DyLoRA: a LoRA that also works with fewer of its ranks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.networks._adapter import Ranked
from core.networks._groups import LoraPlus
from core.networks._norms import NormLimit
from core.networks._programs import REFUSED, loads
from core.networks._weights import StartFrom
from core.settings import setting

if TYPE_CHECKING:
    from torch import nn

    from core.networks._modules.change import Change


class Dylora(LoraPlus, NormLimit, StartFrom, Ranked):
    """A LoRA whose first ranks work without the others, so that the rank can be chosen after training.

    Each call in training uses the first ranks, a random number of blocks, and trains the last of them (Valipour et al.
    2023, arXiv 2210.07558). Every program loads the file. Give it more steps than a LoRA.
    """

    label: ClassVar[str] = "DyLoRA"
    algorithm: ClassVar[str] = "dylora"

    name: Literal["dylora"] = "dylora"
    block_size: int = setting(
        4,
        "Block size",
        "How many ranks are trained together; each rank above must be a multiple. Smaller needs more steps.",
        ge=1,
        le=1024,
        also=("unit",),
    )

    def check(self) -> Iterator[Problem]:
        yield from super().check()
        ranks = {"rank": self.rank, "conv_rank": self.conv_rank}
        ranks |= {f"rules.{index}.rank": rule.rank for index, rule in enumerate(self.rules)}
        for path, rank in ranks.items():
            if rank % self.block_size:
                yield Problem(path, f"must be a multiple of block_size, {self.block_size} (it is {rank})")

    def make(self, name: str, layer: nn.Module, rank: int, alpha: float) -> Change:
        from core.networks._modules.dylora import DyloraChange

        return DyloraChange(name, layer, lora_dim=rank, alpha=alpha, block_size=self.block_size, **self.options())

    def is_plain(self) -> bool:
        return not self.train_norms

    def loads_in(self) -> dict[str, str]:
        return loads({"diffusers": REFUSED} if self.train_norms else {})

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | self.plus_arguments() | {"block_size": self.block_size}
