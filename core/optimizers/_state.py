"""Gives an optimizer its state back exactly as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer


def restore_state(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Take back what `optimizer.state_dict()` gave, every tensor in its own dtype.

    torch's `load_state_dict` casts state to the dtype of its parameter, which loses digits of the fp32 state of bf16
    weights. It does all else right (devices, groups, the libraries' own forms), so only the cast is undone.
    The tensors of `state` may be taken over without a copy.
    """
    optimizer.load_state_dict(dict(state))
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    saved = state["state"]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    for parameter, number in zip(parameters, numbers, strict=True):
        entries = optimizer.state.get(parameter, {})
        for name, tensor in _tensors(saved.get(number, {})):
            loaded = entries[name]
            if loaded.dtype != tensor.dtype:
                entries[name] = tensor.to(loaded.device)


def _tensors(entries: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """The tensors of one parameter's state; bitsandbytes keeps some in a mapping of their own."""
    import torch

    for name, value in entries.items():
        if isinstance(value, torch.Tensor):
            yield name, value
        elif isinstance(value, Mapping):
            yield from _tensors(value)
