"""The trained module of LoRA and LoCon."""

from __future__ import annotations

from typing import Any

import torch
from lycoris.modules.locon import LoConModule
from torch import Tensor

from core.networks._module import Change


class LowRankModule(Change, LoConModule):
    """LyCORIS' LoCon module, whose output passes over the layer's output once where LyCORIS' own takes three passes.

    The same numbers but for the last bits: W x + (alpha / rank) * up(down(x)).
    """

    def __init__(self, name: str, layer: Any, **options: Any) -> None:
        super().__init__(name, layer, bypass_mode=True, **options)

    def changed(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        casts = torch.is_autocast_enabled(x.device.type)
        if (self.rank_dropout and self.training) or not (casts or x.dtype == self.lora_down.weight.dtype):
            return self.bypass_forward(x)
        change = self.dropout(self.lora_up(self.lora_down(x)))
        return torch.add(self.org_forward(x), change, alpha=self.scale)

    def change(self, x: Tensor) -> Tensor:
        return self.bypass_forward_diff(x)

    def difference(self) -> Tensor:
        return self.make_weight() * self.scale
