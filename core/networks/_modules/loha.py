"""The trained module of LoHa."""

from __future__ import annotations

from typing import Any

import torch
from lycoris.functional.loha import diff_weight
from lycoris.modules.loha import LohaModule
from torch import Tensor

from core.networks._modules.change import exact
from core.networks._modules.rebuilt import Rebuilt


class LohaChange(Rebuilt, LohaModule):
    """dW = (alpha / rank) (w1_a w1_b) * (w2_a w2_b), a product of elements (Hyeon-Woo et al. 2022, proposition 2).

    LyCORIS' weights and first values; the file of a Tucker decomposition has the usual form. Not its
    `get_diff_weight`, which multiplies by the scale twice. Rank dropout is LyCORIS': rows of dW.
    """

    hada_w1_a: Tensor
    hada_w1_b: Tensor
    hada_w2_a: Tensor
    hada_w2_b: Tensor
    tucker: bool

    def update(self, kept: Tensor | None) -> Tensor:
        thirds = (self.hada_t1.float(), self.hada_t2.float()) if self.tucker else (None, None)
        gamma: Any = torch.tensor(self.scale, device=self.device)
        return self.rows(diff_weight(*self._halves(), *thirds, gamma=gamma), kept).reshape(self.shape) * self.scalar

    def _halves(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.hada_w1_b.float(), self.hada_w1_a.float(), self.hada_w2_b.float(), self.hada_w2_a.float()

    def _flat_halves(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(rank, in) and (out, rank) of each half, of flattened kernels."""
        halves = self._halves()
        if not self.tucker:
            return halves
        with exact(self.device):
            b1, a1, b2, a2 = halves
            b1 = torch.einsum("i j ..., j n -> i n ...", self.hada_t1.float(), b1)
            b2 = torch.einsum("i j ..., j n -> i n ...", self.hada_t2.float(), b2)
            return b1.flatten(1), a1.T, b2.flatten(1), a2.T

    def to_file(self) -> dict[str, Tensor]:
        b1, a1, b2, a2 = self._flat_halves()
        names = {"hada_w1_a": a1 * self.scalar, "hada_w1_b": b1, "hada_w2_a": a2, "hada_w2_b": b2}
        file = super().to_file() | names
        return {name: tensor for name, tensor in file.items() if name not in ("hada_t1", "hada_t2")}

    def factors(self) -> tuple[Tensor, Tensor] | None:
        """Of rank rank²: (a1 b1) * (a2 b2) is the rows' products of a1 and a2, times the columns' of b1 and b2."""
        if self.wd:
            return None
        with exact(self.device):
            b1, a1, b2, a2 = self._flat_halves()
            up: Any = torch.einsum("o i, o j -> o i j", a1, a2).flatten(1) * self.scale * self.scalar
            return up, torch.einsum("i n, j n -> i j n", b1, b2).flatten(0, 1)
