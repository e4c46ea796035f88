"""What LoRA and LoCon share: a low-rank update, which is every program's LoRA."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from core.errors import Problem
from core.networks._adapter import given
from core.networks._factored import Decomposable
from core.networks._groups import LoraPlus
from core.networks._initial import FirstWeights
from core.networks._norms import NormLimit
from core.networks._programs import REFUSED, loads
from core.networks._weights import StartFrom

if TYPE_CHECKING:
    from torch import nn

    from core.networks._modules.change import Change


class LowRank(FirstWeights, LoraPlus, NormLimit, StartFrom, Decomposable):
    """A low-rank update of layers: W x + alpha / rank * up(down(x)) (Hu et al. 2021, section 4.1)."""

    def check(self) -> Iterator[Problem]:
        yield from super().check()
        if self.initial == "pissa" and self.max_norm:
            yield Problem("max_norm", "can't be held with initial = pissa, whose update is a difference; set it to 0")
        if self.weights and self.initial != "default":
            yield Problem("initial", "doesn't count, as the first weights come from the file; set it to default")
        for name in ("tucker", "use_scalar"):
            if getattr(self, name) and self.initial != "default":
                yield Problem(name, f"begins with other factors than initial = {self.initial}; switch one of them off")

    def ranks(self) -> Mapping[str, int]:
        rules = {f"rules.{index}.rank": rule.rank for index, rule in enumerate(self.rules) if rule.rank}
        return {"rank": self.rank, "conv_rank": self.conv_rank} | rules

    def make(self, name: str, layer: nn.Module, rank: int, alpha: float) -> Change:
        from core.networks._modules.low_rank import LowRankChange
        from core.networks._modules.pissa import PissaChange

        options = {"lora_dim": rank, "alpha": alpha} | self.options()
        if self.initial == "pissa":
            change: LowRankChange = PissaChange(name, layer, self.pissa_iterations, **options)
        else:
            change = LowRankChange(name, layer, **options)
        self.begin(change)
        return change

    def is_plain(self) -> bool:
        return not (self.decompose or self.train_norms)

    def loads_in(self) -> dict[str, str]:
        return loads(self.without_dora({"diffusers": REFUSED} if self.train_norms else {}))

    def metadata(self) -> dict[str, str]:
        """kohya's own module, which every program takes these files for; PiSSA's file has twice the rank."""
        told = super().metadata() | ({} if self.train_norms else {"ss_network_module": "networks.lora"})
        if self.initial == "pissa":
            doubled = str(2 * self.rank), str(2 * self.scaled(self.rank, self.alpha))
            told |= dict(zip(("ss_network_dim", "ss_network_alpha"), doubled, strict=True))
        return told

    def arguments(self) -> dict[str, Any]:
        told = super().arguments() | self.plus_arguments() | given(self.first_arguments())
        return {name: value for name, value in told.items() if name != "algo" or self.train_norms}
