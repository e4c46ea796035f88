"""Gives an optimizer its state back exactly as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.optim import Optimizer


def restore_state(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Take back what `optimizer.state_dict()` gave, every tensor in its own dtype.

    torch's `load_state_dict` casts state to the dtype of its parameter, which loses digits of the fp32 state of bf16
    weights. It does all else right (devices, groups, the libraries' own forms), so only the cast is undone, also in
    lists of tensors.
    The tensors of `state` may be taken over without a copy.
    """
    optimizer.load_state_dict(dict(state))
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    saved = state["state"]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    for parameter, number in zip(parameters, numbers, strict=True):
        entries = optimizer.state.get(parameter, {})
        for name, value in _flat(saved.get(number, {})):
            if name in entries:
                entries[name] = _uncast(entries[name], value)


def _flat(entries: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """One parameter's state; bitsandbytes keeps some in a mapping of its own, which it dissolves on loading."""
    for name, value in entries.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield name, value


def _uncast(loaded: Any, saved: Any) -> Any:
    """What was loaded, with tensors as they were saved."""
    import torch

    if isinstance(saved, torch.Tensor):
        exact = saved.to(loaded.device)
        # some libraries cast back what torch has cast: the dtype is right then, and the digits are gone
        return loaded if loaded.dtype == saved.dtype and torch.equal(loaded, exact) else exact
    if isinstance(saved, list):
        return [_uncast(*pair) for pair in zip(loaded, saved, strict=True)]
    return loaded
