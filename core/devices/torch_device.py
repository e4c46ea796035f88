"""The machine as torch sees it: the device to train on, and its memory."""

from __future__ import annotations

import torch
from torch import Tensor

from core.devices.machine import Machine
from core.errors import MachineError


def torch_device(machine: Machine) -> torch.device:
    """The device to train on. MachineError where torch can't use what the system tells of."""
    if machine.torch_type == "cpu":
        return torch.device("cpu")
    backend = torch.backends.mps if machine.kind == "mps" else torch.get_device_module(machine.torch_type)
    if not backend.is_available():
        raise MachineError(
            f"This machine has a {machine.name}, but torch {torch.__version__} can't use it.",
            "The driver is too old for it, or it is the torch of another kind of machine.",
            "Run install.sh, which chooses torch for this machine, and look at what it says of the driver.",
        )
    return torch.device(machine.torch_type)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device, without waiting for what the device is doing.

    A copy from the CPU's common memory waits; one from pinned memory is taken up in its turn.
    """
    if tensor.device.type == "cpu" and device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def peak_memory(device: torch.device) -> int:
    """The most bytes of tensors that the device held since `reset_peak_memory`; 0 where it isn't counted."""
    if device.type in ("cuda", "xpu"):
        return torch.get_device_module(device).max_memory_allocated(device)
    return torch.mps.current_allocated_memory() if device.type == "mps" else 0


def reset_peak_memory(device: torch.device) -> None:
    """Begin to count anew."""
    if device.type in ("cuda", "xpu"):
        torch.get_device_module(device).reset_peak_memory_stats(device)
