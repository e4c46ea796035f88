"""The trained module of LoRA and LoCon."""

from __future__ import annotations

from typing import Any

import torch
from lycoris.functional.locon import diff_weight
from lycoris.modules.locon import LoConModule
from torch import Tensor
from torch.nn import functional as F

from core.networks._modules.change import exact, working_dtype
from core.networks._modules.rebuilt import Rebuilt


class LowRankChange(Rebuilt, LoConModule):
    """W x + (alpha / rank) up(down(x)); of a convolution, up(mid(down(x))) if it is a Tucker decomposition.

    LyCORIS' weights and first values. The file of a Tucker decomposition has mid and down as one, a usual LoRA, which
    diffusers loads too. Its output passes over the layer's output once, where LyCORIS' own takes three
    passes. Rank dropout is kohya's (networks/lora.py): each sample loses ranks of its own; with DoRA, whose weight all
    samples share, each call.
    """

    lora_down: Any
    lora_up: Any
    lora_mid: Any
    tucker: bool

    def __init__(self, name: str, layer: Any, **options: Any) -> None:
        super().__init__(name, layer, bypass_mode=True, **options)

    def changed(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.wd:
            return super().changed(x, *args, **kwargs)
        change = self.dropped(self._through(x))
        return torch.add(self.org_forward(x), change, alpha=self.scale)

    def change(self, x: Tensor, y: Tensor) -> Tensor:
        return super().change(x, y) if self.wd else self._through(x) * self.scale

    def _through(self, x: Tensor) -> Tensor:
        """up(down(x)), unscaled."""
        down, up, mid = self.lora_down, self.lora_up, self.lora_mid if self.tucker else None
        if working_dtype(x) != x.dtype or x.dtype == down.weight.dtype:  # autocast casts, or nothing has to
            inner = mid(down(x)) if mid else down(x)
            outer = up(self._some(inner))
        else:
            inner = _cast(down, x)
            outer = _cast(up, self._some(_cast(mid, inner) if mid else inner))
        return outer * self.scalar.to(outer.dtype) if self.scalar.requires_grad else outer

    def _some(self, inner: Tensor) -> Tensor:
        """What lies between down and up, with some ranks dropped."""
        kept = self.kept(inner.shape[0], self.lora_dim)
        if kept is None:
            return inner
        axes = (..., None, None) if self.is_convolution else (slice(None), *[None] * (inner.dim() - 2), slice(None))
        return inner * kept[axes].to(inner.dtype)

    def ranks(self) -> int:
        return self.lora_dim

    def update(self, kept: Tensor | None) -> Tensor:
        up = self.lora_up.weight.float()
        if kept is not None:
            up = up * kept.reshape(1, -1, *[1] * (up.dim() - 2))
        mid: Any = self.lora_mid.weight.float() if self.tucker else None
        return diff_weight(self.lora_down.weight.float(), up, mid, gamma=self.scale) * self.scalar

    def factors(self) -> tuple[Tensor, Tensor] | None:
        if self.wd:
            return None
        return self.lora_up.weight.float().flatten(1) * self.scale * self.scalar, self._whole_down().flatten(1)

    def to_file(self) -> dict[str, Tensor]:
        file = super().to_file()
        if file.pop("lora_mid.weight", None) is not None:
            file["lora_down.weight"] = self._whole_down()
        return file

    def _whole_down(self) -> Tensor:
        """Down, and mid where there is one, as one convolution; fp32."""
        down = self.lora_down.weight.float()
        if not self.tucker:
            return down
        with exact(self.device):
            return torch.einsum("m n ..., n i -> m i ...", self.lora_mid.weight.float(), down.flatten(1))


def _cast(layer: Any, x: Tensor) -> Tensor:
    """A bias-free layer's output, calculated in its input's precision."""
    if isinstance(layer, torch.nn.Linear):
        return F.linear(x, layer.weight.to(x.dtype))
    return F.conv2d(x, layer.weight.to(x.dtype), None, layer.stride, layer.padding)
