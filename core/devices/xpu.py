"""Intel's GPUs. Most sit within a processor and are small: only a torch built for them says that one trains."""

from __future__ import annotations

from core.devices.machine import Found, Host


def find(host: Host) -> Found | None:
    """The first Intel GPU, if torch is built for them."""
    if "+xpu" not in host.torch:
        return None
    for card in sorted((host.root / "sys/class/drm").glob("card[0-9]*")):
        folder = f"sys/class/drm/{card.name}"
        if host.read(f"{folder}/device/vendor") == "0x8086":
            memory = host.read(f"{folder}/lmem_total_bytes")
            memory_gb = int(memory) / 2**30 if memory.isdecimal() else 0.0
            shown = f"{memory_gb:.1f} GB" if memory_gb else "memory whose size the driver doesn't tell"
            why = f"{card.name} is Intel's, with {shown}, and torch is built for it ({host.torch})."
            return Found("xpu", "Intel GPU", memory_gb, ("bf16", "fp16", "fp32"), (why,))
    return None
