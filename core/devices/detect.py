"""Finds out what this machine trains on. It asks the system, not torch, so it is quick and imports nothing heavy."""

from __future__ import annotations

import re
from dataclasses import replace

from core.devices import cpu, cuda, mps, rocm, xpu
from core.devices.host_memory import host_memory_gb
from core.devices.machine import Found, Host, Machine

_BUILDS = {"cuda": "cu", "rocm": "rocm", "xpu": "xpu", "mps": "cpu"}
_MEANS = {"cpu": "the processor alone", "cu": "NVIDIA's GPUs", "rocm": "AMD's GPUs", "xpu": "Intel's GPUs"}


def detect(host: Host | None = None) -> Machine:
    """The best device of this machine that the installed torch can use."""
    host = host or Host()
    refused = []
    for kind in (cuda, rocm, xpu, mps):
        found = kind.find(host)
        reason = _refusal(found, host) if found else ""
        if found and not reason:
            return _machine(found, host)
        refused += [reason] if reason else []
    found = cpu.find(host)
    return _machine(replace(found, why=(*refused, *found.why)), host)


def _machine(found: Found, host: Host) -> Machine:
    memory_gb, reason = host_memory_gb(host)
    return Machine(found.kind, found.name, found.memory_gb, memory_gb, found.precisions, (*found.why, reason))


def _refusal(found: Found, host: Host) -> str:
    """Why the installed torch can't use a device; empty where it can, or where its version doesn't say."""
    build = re.search(r"\+(cpu|cu|rocm|xpu)", host.torch)
    if build is None or build[1] == _BUILDS[found.kind]:
        return ""
    return (
        f"There is a {found.name}, but torch {host.torch} is built for {_MEANS[build[1]]}; "
        "update.sh installs the one for this machine."
    )
