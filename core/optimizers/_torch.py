"""What torch's own optimizers have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def in_one_kernel(groups: Iterable[Mapping[str, Any]]) -> bool:
    """Whether there is a kernel for all weights at once.

    A LoRA's many small tensors take six times as long one by one on a CPU.
    """
    return all(weight.device.type in ("cpu", "cuda") for group in groups for weight in group["params"])
