"""The processor, where there is no GPU that torch can use."""

from __future__ import annotations

import os

from core.devices.host_memory import host_memory_gb
from core.devices.machine import Found, Host


def find(host: Host) -> Found:
    """The processor; there always is one."""
    models = [line.partition(":")[2].strip() for line in host.read("proc/cpuinfo").splitlines() if "model name" in line]
    name = models[0] if models else host.processor or "CPU"
    memory_gb, _ = host_memory_gb(host)
    why = f"No GPU that torch can use was found; the processor trains, with {os.cpu_count() or 1} cores."
    return Found(
        "cpu", name, memory_gb, ("bf16", "fp32"), (why, "Processors calculate in bf16, the older ones slowly.")
    )
