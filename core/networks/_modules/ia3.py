"""The trained module of (IA)³."""

from __future__ import annotations

from lycoris.modules.ia3 import IA3Module
from torch import Tensor

from core.networks._modules.change import Change, working_dtype


class Ia3Change(Change, IA3Module):
    """One factor for each output, or each input, of a layer: W' = (1 + w) W (Liu et al. 2022, arXiv 2205.05638).

    LyCORIS' weights; not its bypass, which scales the bias too, against its own file.
    """

    weight: Tensor
    train_input: bool

    def change(self, x: Tensor, y: Tensor) -> Tensor:
        if not self.train_input:
            y = self.without_bias(y)
            return y * self.along_channels(self.weight, y.dim()).to(y.dtype)
        scaled = x * self.along_channels(self.weight, x.dim()).to(working_dtype(x))
        return self.apply_weight(scaled, self.base_weight)

    def difference(self) -> Tensor:
        weight, factor = self.base_weight.float(), self.weight.float().flatten()
        others = [1] * (weight.dim() - 2)
        return weight * (factor.reshape(1, -1, *others) if self.train_input else factor.reshape(-1, 1, *others))
