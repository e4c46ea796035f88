"""What is trained of one layer: the base of all algorithms' modules, on LyCORIS' own."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault(
    "LYCORIS_KERNEL_BACKEND", "torch"
)  # on CUDA it would pick a kernel by itself, with other last bits

import torch
from lycoris.modules.base import LycorisBaseModule
from torch import Tensor, nn


class Change(LycorisBaseModule):
    """The change of one layer: W x + b becomes W x + b + change(x).

    Nothing is added to the layer's weight: in bf16 a small update of it would be rounded away (LyCORIS' own way of
    rebuilding the weight loses up to 91 % of an update). Mixed in before one of LyCORIS' modules, whose weights, names
    and first values it has.
    """

    drop: nn.Module
    shape: tuple[int, ...]
    training: bool

    def change(self, x: Tensor) -> Tensor:
        """What is added to the layer's output for an input; x and the result as the layer's own."""
        raise NotImplementedError

    def difference(self) -> Tensor:
        """The change of the layer's weight, of its shape, fp32: what the saved file does."""
        raise NotImplementedError

    def bias_difference(self) -> Tensor | None:
        """The change of the layer's bias, fp32; None where it is left alone."""
        return None

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The layer's output with the change added. Without it for the share of calls that module dropout says."""
        if self.training and self.module_dropout and torch.rand(()) < self.module_dropout:
            return self.org_forward(x, *args, **kwargs)
        return self.changed(x, *args, **kwargs)

    def changed(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The layer's output with the change added."""
        return self.org_forward(x, *args, **kwargs) + self.drop(self.change(x))

    def to_file(self) -> dict[str, Tensor]:
        """The tensors by which other programs know this change: suffix -> tensor."""
        return self.state_dict()
