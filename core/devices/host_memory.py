"""The memory of the machine, and what of it a container leaves to this process."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import PurePosixPath

import psutil

from core.devices.machine import Host


def host_memory_gb(host: Host) -> tuple[float, str]:
    """What this process may use at most, in GiB, and why."""
    total, limit = psutil.virtual_memory().total, _container_limit(host)
    if limit is not None and limit < total:
        return limit / 2**30, f"The container may use {limit / 2**30:.1f} of the machine's {total / 2**30:.1f} GB."
    return total / 2**30, f"The machine has {total / 2**30:.1f} GB of memory."


def used_host_memory() -> int:
    """Bytes that this process holds in memory now."""
    return psutil.Process().memory_info().rss


def give_back_host_memory() -> None:
    """Hand what was freed back to the system, after something large was let go.

    glibc keeps freed blocks of up to 32 MB, which most weights are: of SDXL's text encoders half would stay.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim:
            trim(0)


def _container_limit(host: Host) -> int | None:
    """The lowest memory limit of this process's control groups, in bytes."""
    limits = []
    for line in host.read("proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        mount, name = ("memory", "memory.limit_in_bytes") if controllers else ("", "memory.max")
        # inside a container the path is often that of the host, of which only the root is visible
        group = PurePosixPath(path)
        for folder in (group, *group.parents):
            limits.append(host.read(str(PurePosixPath("sys/fs/cgroup", mount, str(folder).lstrip("/"), name))))
    numbers = [int(limit) for limit in limits if limit.isdecimal()]
    return min(numbers, default=None)
