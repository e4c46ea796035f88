"""NVIDIA's GPUs, as nvidia-smi tells of them."""

from __future__ import annotations

from core.devices.machine import Found, Host

_FIELDS = ("index", "uuid", "name", "memory.total", "driver_version")


def find(host: Host) -> Found | None:
    """The first GPU that CUDA_VISIBLE_DEVICES allows."""
    chosen = host.chosen("CUDA_VISIBLE_DEVICES")
    row = next((row for row in _rows(host) if chosen is None or _is(row, chosen)), None)
    if row is None:
        return None
    _, _, name, memory, driver, capability = row
    memory_gb = _number(memory) / 1024
    precisions, reason = _precisions(_number(capability), capability)
    why = f"nvidia-smi tells of a {name} with {memory_gb:.1f} GB, driver {driver}."
    return Found("cuda", name, memory_gb, precisions, (why, reason))


def _rows(host: Host) -> list[list[str]]:
    """Index, uuid, name, memory in MiB, driver and compute capability of each GPU.

    Drivers of before 2022 don't know the last, and then refuse the whole question.
    """
    for fields, rest in ((*_FIELDS, "compute_cap"), []), (_FIELDS, [""]):
        answer = host.ask("nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits")
        rows = [[cell.strip() for cell in line.split(",")] + rest for line in (answer or "").splitlines() if line]
        if rows and all(len(row) == len(_FIELDS) + 1 for row in rows):
            return rows
    return []


def _is(row: list[str], chosen: str) -> bool:
    return bool(chosen) and (row[0] == chosen or row[1].startswith(chosen))


def _precisions(capability: float, shown: str) -> tuple[tuple[str, ...], str]:
    if capability >= 8:
        return ("bf16", "fp16", "fp32"), f"Its compute capability {shown} is 8.0 or more, so it calculates in bf16."
    if capability:
        return ("fp16", "fp32"), f"Its compute capability {shown} is less than 8.0, so fp16 takes the place of bf16."
    return ("fp16", "fp32"), "Its driver doesn't tell the compute capability; fp16 works on all."


def _number(text: str) -> float:
    """A number of nvidia-smi's; 0 for what it doesn't know ("[N/A]")."""
    try:
        return float(text)
    except ValueError:
        return 0.0
