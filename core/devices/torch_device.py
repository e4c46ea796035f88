"""The machine as torch sees it: the device to train on, and its memory."""

from __future__ import annotations

import torch

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


def peak_memory(device: torch.device) -> int:
    """The most bytes of tensors that the device held since `reset_peak_memory`; 0 where it isn't counted."""
    if device.type in ("cuda", "xpu"):
        return torch.get_device_module(device).max_memory_allocated(device)
    return torch.mps.current_allocated_memory() if device.type == "mps" else 0


def reset_peak_memory(device: torch.device) -> None:
    """Begin to count anew."""
    if device.type in ("cuda", "xpu"):
        torch.get_device_module(device).reset_peak_memory_stats(device)
