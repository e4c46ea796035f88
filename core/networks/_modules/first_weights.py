"""First weights of low-rank updates, drawn from torch's generator of the CPU: the same on every device."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from core.networks._modules.low_rank import LowRankChange


def begin_orthogonal(change: LowRankChange) -> None:
    """Up and down are random and their product is zero, because they use rows of one orthogonal matrix by turns.

    peft's init_lora_weights="orthogonal" (datta0.github.io/posts/rethink-lora-init), draw by draw; a convolution is
    flattened. Both halves have a gradient from the first step. fp32 makes the product zero but for the last bits. The
    rank must be even.
    """
    rank, inputs, outputs = change.lora_dim, math.prod(change.shape[1:]), change.shape[0]
    q, _ = torch.linalg.qr(torch.randn(rank, rank))
    down = torch.randn(inputs, rank // 2).mm(q[0::2]).T / 10
    up = torch.randn(rank // 2, outputs).T.mm(q[1::2]) / 10
    put(change.lora_down, down)
    put(change.lora_up, up)


def begin_normal(change: LowRankChange) -> None:
    """Down is normal, with deviation sqrt(2 / (inputs + rank)), and up zero: kohya's networks/lora_fa.py.

    inputs: channels, not multiplied by the size of a convolution's kernel.
    """
    nn.init.normal_(change.lora_down.weight, std=math.sqrt(2 / (change.shape[1] + change.lora_dim)))


def put(half: nn.Module, matrix: Tensor) -> None:
    """Give a half of an update its weight, from a matrix of the flattened shape."""
    weight: Tensor = half.weight  # type: ignore[assignment]
    weight.data.copy_(matrix.reshape(weight.shape))
