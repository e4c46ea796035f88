"""AMD's GPUs, as the kernel and rocm-smi tell of them."""

from __future__ import annotations

import json
from pathlib import Path

from core.devices.machine import Found, Host

_NODES = "sys/class/kfd/kfd/topology/nodes"


def find(host: Host) -> Found | None:
    """The first GPU that HIP_VISIBLE_DEVICES (or ROCR_VISIBLE_DEVICES, CUDA_VISIBLE_DEVICES) allows."""
    nodes = [node for node in _nodes(host) if _properties(host, f"{node}/properties").get("simd_count", 0) > 0]
    chosen = host.chosen("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")
    if chosen is None:
        chosen = "0"
    index = int(chosen) if chosen.isdecimal() else len(nodes)
    if index >= len(nodes):
        return None
    node = nodes[index]
    chip = _chip(_properties(host, f"{node}/properties").get("gfx_target_version", 0))
    memory_gb = _memory(host, node) / 2**30
    name = _product(host, index) or f"AMD GPU ({chip})"
    why = f"/sys/class/kfd tells of an AMD GPU, {chip}, with {memory_gb:.1f} GB."
    return Found("rocm", name, memory_gb, ("bf16", "fp16", "fp32"), (why, "ROCm's GPUs calculate in bf16."))


def _nodes(host: Host) -> list[str]:
    """Paths of the kernel's nodes, CPUs among them, in its own order."""
    numbers = sorted(int(path.name) for path in (host.root / _NODES).glob("*") if path.name.isdecimal())
    return [f"{_NODES}/{number}" for number in numbers]


def _properties(host: Host, path: str) -> dict[str, int]:
    pairs = [line.split() for line in host.read(path).splitlines()]
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def _memory(host: Host, node: str) -> int:
    """Bytes of the node's own memory: banks of heap type 1 and 2 (frame buffer, public and private)."""
    banks = [Path(path).relative_to(host.root) for path in (host.root / node).glob("mem_banks/*/properties")]
    found = [_properties(host, str(bank)) for bank in banks]
    return sum(bank.get("size_in_bytes", 0) for bank in found if bank.get("heap_type") in (1, 2))


def _chip(version: int) -> str:
    """110001 -> gfx1101: major, minor and step have two decimal digits each; the last two are written in hex."""
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"


def _product(host: Host, index: int) -> str:
    answer = host.ask("rocm-smi", "--showproductname", "--json")
    try:
        cards = json.loads(answer or "{}")
    except json.JSONDecodeError:
        return ""
    card = cards.get(f"card{index}", {}) if isinstance(cards, dict) else {}
    return next((str(value) for key, value in card.items() if key.lower() == "card series"), "")
