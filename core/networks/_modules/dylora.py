"""The trained module of DyLoRA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lycoris.modules.dylora import DyLoraModule
from torch import Tensor
from torch.nn import functional as F

from core.networks._modules.change import Change, exact


class DyloraChange(Change, DyLoraModule):
    """A LoRA of which each call in training uses only the first ranks, a random number of blocks, and trains the last.

    So the file's first ranks work without the others (Valipour et al. 2023, arXiv 2210.07558, its frozen variant).
    The scale is alpha / rank whatever the number of blocks is, as in the file; LyCORIS' alpha / (blocks in use) is
    more than that by a factor that the file doesn't have. Which block is drawn from torch's generator, so that a run
    repeats; LyCORIS draws it from Python's. LyCORIS' saving of convolutions, which fails, and its loading, which does
    nothing, are not used.
    """

    up_list: Any
    down_list: Any
    block_count: int
    lora_dim: int
    scale: float
    alpha: Tensor

    def change(self, x: Tensor, y: Tensor) -> Tensor:
        up, down = self._matrices(int(torch.randint(self.block_count, ())) if self.training else None)
        dtype = y.dtype
        if not self.is_convolution:
            return F.linear(F.linear(x.to(dtype), down.to(dtype)), up.to(dtype)) * self.scale
        down, up = down.reshape(len(down), -1, *self.shape[2:]), up[..., None, None]
        return F.conv2d(self.op(x.to(dtype), down.to(dtype), **self.kw_dict), up.to(dtype)) * self.scale

    def _matrices(self, last: int | None) -> tuple[Tensor, Tensor]:
        """Up (out, ranks) and down (ranks, in) up to a block, which alone has a gradient; all of them for None."""
        ups, downs = list(self.up_list), list(self.down_list)
        if last is not None:
            ups = [up.detach() for up in ups[:last]] + [ups[last]]
            downs = [down.detach() for down in downs[:last]] + [downs[last]]
        return torch.cat(ups, dim=1), torch.cat(downs)

    def difference(self) -> Tensor:
        with exact(self.device):
            up, down = self._matrices(None)
            return (up.float() @ down.float()).reshape(self.shape) * self.scale

    def factors(self) -> tuple[Tensor, Tensor]:
        up, down = self._matrices(None)
        return up.float() * self.scale, down.float()

    def take(self, file: Mapping[str, Tensor]) -> None:
        ups = file["lora_up.weight"].flatten(1).chunk(self.block_count, dim=1)
        downs = file["lora_down.weight"].flatten(1).chunk(self.block_count)
        lists = {"up_list": ups, "down_list": downs}
        super().take({f"{name}.{place}": block for name, blocks in lists.items() for place, block in enumerate(blocks)})

    def to_file(self) -> dict[str, Tensor]:
        """A plain LoRA's tensors."""
        up, down = self._matrices(None)
        return {
            "alpha": self.alpha,
            "lora_up.weight": up.reshape(*up.shape, *[1] * (len(self.shape) - 2)),
            "lora_down.weight": down.reshape(len(down), -1, *self.shape[2:]),
        }
