"""The change of one layer: what the modules of all algorithms share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lycoris.modules.base import LycorisBaseModule
from torch import Tensor
from torch.nn import functional as F


class Change(LycorisBaseModule):
    """The change of one layer: its output y = W x + b becomes y + change(x, y).

    Nothing is added to the layer's weight: in bf16 a small update of it would be rounded away (LyCORIS' own way of
    rebuilding the weight loses up to 91 % of an update). Mixed in before one of LyCORIS' modules, whose weights, names
    and first values it has; LyCORIS' own dropouts, which some of its modules ignore, are replaced by these.

    The dropouts, all in training alone: of the change's values, with those that stay scaled by 1 / (1 - share); of
    whole layers, unscaled (both as LyCORIS and kohya do where they do); of ranks, see the algorithms.
    """

    training: bool
    shape: tuple[int, ...]
    device: torch.device
    op: Any
    at: Any = None
    """What `Adapter.at_levels` made of the noise levels of the batch that comes."""

    def __init__(
        self,
        name: str,
        layer: Any,
        *,
        dropout: float = 0.0,
        module_dropout: float = 0.0,
        rank_dropout: float = 0.0,
        rank_dropout_scale: bool = True,
        **options: Any,
    ) -> None:
        """name: the layer's path. options: of the LyCORIS module."""
        super().__init__(name, layer, **options)
        self.output_dropout, self.layer_dropout = dropout, module_dropout
        self.share_of_ranks, self.scales_ranks = rank_dropout, rank_dropout_scale

    # -- what an algorithm says

    def change(self, x: Tensor, y: Tensor) -> Tensor:
        """What is added to the layer's output y for its input x; of y's shape."""
        raise NotImplementedError

    def difference(self) -> Tensor:
        """The change of the layer's weight, of its shape, fp32, without dropout: what the saved file does."""
        raise NotImplementedError

    def plain_difference(self) -> Tensor:
        """The difference before its decomposition, if it has one: what a limit of norms measures."""
        return self.difference()

    def bias_difference(self) -> Tensor | None:
        """The change of the layer's bias, fp32; None where it is left alone."""
        return None

    def factors(self) -> tuple[Tensor, Tensor] | None:
        """Two matrices (out k, k in) whose product is the difference (convolutions: flattened), if there are such.

        fp32; None where the difference has no low rank.
        """
        return None

    def to_file(self) -> dict[str, Tensor]:
        """The tensors by which other programs know this change: suffix -> tensor."""
        return self.state_dict()

    def take(self, file: Mapping[str, Tensor]) -> None:
        """Take the trained weights from what `to_file` of such a module gave; not its alpha."""
        weights = dict(self.named_parameters())
        with torch.no_grad():
            for suffix, tensor in file.items():
                if suffix != "alpha":
                    weights[suffix].copy_(tensor.reshape(weights[suffix].shape))
            if "scalar" in weights:  # a file has it in the other weights
                weights["scalar"].fill_(1.0)

    def hold_in(self, dtype: torch.dtype) -> None:
        """Hold the trained weights in a precision. Buffers (alpha ...) stay as they are."""
        for parameter in self.parameters():
            parameter.data = parameter.data.to(dtype)

    def trained(self) -> dict[str, Tensor]:
        """What a backup holds of it."""
        return {name: parameter.detach() for name, parameter in self.named_parameters()}

    # -- what they share

    def apply_to(self, **kwargs: Any) -> None:
        """Put it on the layer."""
        LycorisBaseModule.apply_to(self)

    def restore(self) -> None:
        """Take it off the layer."""
        LycorisBaseModule.restore(self)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The layer's output with the change added; without it for the share of calls that module dropout says."""
        if self.training and self.layer_dropout and torch.rand(()) < self.layer_dropout:
            return self.org_forward(x, *args, **kwargs)
        return self.changed(x, *args, **kwargs)

    def changed(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The layer's output with the change added."""
        y = self.org_forward(x, *args, **kwargs)
        return y + self.dropped(self.change(x, y))

    def dropped(self, change: Tensor) -> Tensor:
        """The change with some of its values dropped."""
        return F.dropout(change, self.output_dropout, self.training) if self.output_dropout else change

    def kept(self, *shape: int) -> Tensor | None:
        """A mask for what rank dropout leaves in, of this shape, fp32; None if all stays.

        Scaled by 1 / (1 - share), as kohya does, so that the mean stays; or not, as LyCORIS does unless it is told
        (where it divides by the mask's own mean, which can be 0).
        """
        if not (self.training and self.share_of_ranks):
            return None
        mask = (torch.rand(shape, device=self.device) >= self.share_of_ranks).float()
        return mask / (1 - self.share_of_ranks) if self.scales_ranks else mask

    @property
    def base_weight(self) -> Tensor:
        """The layer's own weight."""
        return self.org_module[0].weight.detach()  # type: ignore[return-value]

    @property
    def base_bias(self) -> Tensor | None:
        """The layer's own bias."""
        bias = self.org_module[0].bias
        return None if bias is None else bias.detach()  # type: ignore[return-value,operator]

    def without_bias(self, y: Tensor) -> Tensor:
        """W x of an output y = W x + b."""
        bias = self.base_bias
        return y if bias is None else y - self.along_channels(bias, y.dim()).to(y.dtype)

    def along_channels(self, values: Tensor, dims: int) -> Tensor:
        """One value for each channel, in the shape that fits an activation of so many axes."""
        return values.reshape(-1, 1, 1) if self.is_convolution else values.reshape(*[1] * (dims - 1), -1)

    @property
    def is_convolution(self) -> bool:
        """Whether the layer is a convolution, whose channels are the second axis instead of the last."""
        return self.module_type.startswith("conv")

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """The layer's operation with another weight, in the precision that the layer itself calculates in."""
        dtype = working_dtype(x)
        bias = None if bias is None else bias.to(dtype)
        return self.op(x.to(dtype), weight.to(dtype), bias, **self.kw_dict)


def working_dtype(x: Tensor) -> torch.dtype:
    """The precision that a layer calculates in: autocast's, or its input's."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def exact(device: torch.device) -> torch.autocast:
    """Inside, nothing is calculated in less than fp32."""
    return torch.autocast(device.type, enabled=False)
