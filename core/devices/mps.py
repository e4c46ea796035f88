"""Apple's GPUs, which share the memory of the machine."""

from __future__ import annotations

from core.devices.host_memory import host_memory_gb
from core.devices.machine import Found, Host


def find(host: Host) -> Found | None:
    """The GPU of an Apple chip."""
    if (host.system, host.processor) != ("Darwin", "arm64"):
        return None
    name = (host.ask("sysctl", "-n", "machdep.cpu.brand_string") or "Apple GPU").strip()
    memory_gb, _ = host_memory_gb(host)
    why = f"This is a Mac with an Apple chip ({name}); its GPU shares the machine's memory."
    return Found(
        "mps", name, memory_gb, ("fp16", "fp32"), (why, "Not all of them calculate in bf16; fp16 works on all.")
    )
