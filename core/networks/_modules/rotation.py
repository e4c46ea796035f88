"""The trained modules of OFT and BOFT, which turn the outputs of a layer among themselves."""

from __future__ import annotations

from typing import Any

import torch
from lycoris.modules.boft import ButterflyOFTModule
from lycoris.modules.diag_oft import DiagOFTModule
from torch import Tensor, nn

from core.networks._modules.change import Change, exact

UNBOUND = 1e4
"""The constraint that files name: none. It is in the rotations already; programs don't agree on what it means."""


class Rotation(Change):
    """W' = (1 + s) R W, where R is made of orthogonal blocks (1 + Q)(1 - Q)⁻¹, Q = B - Bᵀ, and s is the rescaling.

    R - 1 is calculated as 2 Q (1 - Q)⁻¹: by subtraction, a Q of 1e-6 would be wrong by a tenth in fp32. The change is
    made from the layer's output without its bias, which LyCORIS' bypass turns too, against its own file. LyCORIS
    trains 1 + s.
    """

    oft_blocks: Tensor
    constraint: float

    def __init__(self, name: str, layer: Any, **options: Any) -> None:
        super().__init__(name, layer, **options)
        if self.rescaled:  # type: ignore[has-type]
            self.rescale = nn.Parameter(torch.zeros_like(self.rescale))

    def turn(self, values: Tensor, step: Tensor, axis: int) -> Tensor:
        """(R - 1) applied to an axis of values. step: R - 1 of each block."""
        raise NotImplementedError

    def change(self, x: Tensor, y: Tensor) -> Tensor:
        y = self.without_bias(y)
        change = self.turn(y, self.steps().to(y.dtype), 1 if self.is_convolution else -1)
        if not self.rescaled:
            return change
        factor = self.along_channels(self.rescale, y.dim()).to(y.dtype)
        return change + factor * (y + change)

    def difference(self) -> Tensor:
        with exact(self.device):
            weight = self.base_weight.float()
            change = self.turn(weight, self.steps(), 0)
            return change + self.rescale.float() * (weight + change) if self.rescaled else change

    def steps(self) -> Tensor:
        """R - 1 of each block, fp32."""
        with exact(self.device):
            q = self._generators()
            one = torch.eye(q.shape[-1], device=q.device)
            return torch.linalg.solve(one - q, 2 * q, left=False)

    def _generators(self) -> Tensor:
        """Q of each block, together no larger than the constraint (COFT: Qiu et al. 2023, as LyCORIS measures it)."""
        blocks = self.oft_blocks.float()
        q = blocks - blocks.transpose(-1, -2)
        if self.constraint > 0:
            q = q * (self.constraint / (torch.linalg.vector_norm(q) + 1e-8)).clamp(max=1)
        return q

    def to_file(self) -> dict[str, Tensor]:
        """The constraint is in the blocks: ComfyUI holds it against another number than LyCORIS does."""
        file = {"oft_blocks": self._generators().triu(), "alpha": torch.tensor(UNBOUND)}
        return file | ({"rescale": 1 + self.rescale.float()} if self.rescaled else {})


class OftChange(Rotation, DiagOFTModule):
    """R is block-diagonal (OFT: Qiu et al. 2023, arXiv 2306.07280); LyCORIS' blocks, of any size.

    LyCORIS' own are never larger than their number: it takes 16 outputs by 8 for 8 blocks of 2.
    """

    def __init__(self, name: str, layer: Any, size: int, **options: Any) -> None:
        """size: of the blocks; divides the layer's outputs."""
        super().__init__(name, layer, **options)
        self.block_size, self.block_num = size, self.shape[0] // size
        self.oft_blocks = nn.Parameter(torch.zeros(self.block_num, size, size))

    def turn(self, values: Tensor, step: Tensor, axis: int) -> Tensor:
        grouped = values.movedim(axis, -1).unflatten(-1, step.shape[:2])
        return torch.einsum("k n m, ... k n -> ... k m", step, grouped).flatten(-2).movedim(-1, axis)


class BoftChange(Rotation, ButterflyOFTModule):
    """R is a product of block-diagonal ones between which outputs change places (Liu et al. 2024, arXiv 2311.06243).

    LyCORIS' blocks and order. What the stages change adds up beside the values: no small turn is rounded away.
    """

    def turn(self, values: Tensor, step: Tensor, axis: int) -> Tensor:
        values = values.movedim(axis, -1)
        change = torch.zeros_like(values)
        for stage, blocks in enumerate(step):
            distance = 2**stage * (blocks.shape[-1] // 2)
            shuffled = (values + change).unflatten(-1, (-1, 2, distance)).transpose(-1, -2).flatten(-3)
            grouped = shuffled.unflatten(-1, blocks.shape[:2])
            turned = torch.einsum("k n m, ... k m -> ... k n", blocks, grouped).flatten(-2)
            change = change + turned.unflatten(-1, (-1, distance, 2)).transpose(-1, -2).flatten(-3)
        return change.movedim(-1, axis)


def butterfly_sizes(outputs: int) -> list[int]:
    """The block sizes that BOFT can have, from the smallest: even, and leaving a power of two of blocks."""
    return [size for size in range(2, outputs + 1, 2) if outputs % size == 0 and (outputs // size).bit_count() == 1]
