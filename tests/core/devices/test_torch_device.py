"""The machine as torch sees it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from core.devices import Machine, detect, give_back_host_memory, used_host_memory
from core.devices.torch_device import peak_memory, reset_peak_memory, torch_device
from core.errors import MachineError

CPU = Machine("cpu", "Fast 9000", 16.0, 16.0, ("bf16", "fp32"), ())


def test_a_processor_is_torchs_cpu() -> None:
    assert torch_device(CPU) == torch.device("cpu")


def test_what_was_detected_here_can_calculate() -> None:
    device = torch_device(detect())
    assert torch.ones(2, device=device).sum().item() == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch can use a GPU here")
@pytest.mark.parametrize("kind", ["cuda", "rocm"])
def test_a_gpu_that_torch_can_not_use_is_an_error_with_what_to_do(kind: str) -> None:
    with pytest.raises(MachineError, match="NVIDIA A100") as raised:
        torch_device(replace(CPU, kind=kind, name="NVIDIA A100"))
    assert "install.sh" in raised.value.do


def test_a_processors_tensors_are_not_counted() -> None:
    device = torch.device("cpu")
    reset_peak_memory(device)
    assert peak_memory(device) == 0


def test_this_process_grows_by_what_it_holds() -> None:
    give_back_host_memory()  # what tests before this one left would go meanwhile
    before = used_host_memory()
    held = torch.ones(64 * 2**20 // 4)
    assert used_host_memory() - before > 48 * 2**20
    assert held.sum() > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_counts_its_peak() -> None:
    device = torch.device("cuda")
    reset_peak_memory(device)
    torch.ones(2**20, device=device)
    assert peak_memory(device) >= 2**22
