"""Tries an optimizer in earnest: whether its library works on a device, and what of its promises holds there."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterator
from typing import TYPE_CHECKING

from core.settings.bases import Finding, OptimizerConfig

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

BROKEN = (ImportError, OSError, RuntimeError, AttributeError, AssertionError, ValueError, NotImplementedError)
"""What importing or running a library raises where its compiled part and the machine don't fit.

AssertionError is torch's own, where it was built without the device.
"""

STEPS = 10
ALLOWED = 0.05
"""How far apart the weights may be after the trial's steps, as a share of the way that they went.

8-bit state has seven binary digits at most; ten steps were seen up to 0.011 apart. Wrong steps are 1 apart or more.
"""


def try_out(cls: type[OptimizerConfig], device: str) -> Iterator[Finding]:
    """What a trial on `device` finds, line by line; it ends with the first failure."""
    try:
        library = getattr(cls, "library", "torch")
        importlib.import_module(getattr(cls, "module", "torch"))
        yield Finding(f"{library} {importlib.metadata.version(library)} imports")
        for finding in cls.library_findings(device):
            yield finding
            if not finding.passed:
                return
        yield from _steps(cls(), device)  # type: ignore[call-arg]
    except BROKEN as error:
        yield Finding(str(error).strip() or type(error).__name__, False)


def _steps(config: OptimizerConfig, device: str) -> Iterator[Finding]:
    way, optimizer = _descend(config, device)
    moved = way.square().mean().sqrt()
    if not moved > 0:  # not a number, too
        yield Finding(f"its steps lead nowhere: after {STEPS} the weights moved by {moved:g}", False)
        return
    like = config.like()
    if like is None and device == "cpu":
        yield Finding(f"{STEPS} steps move the weights by {moved:.2g} on average")
        yield Finding(f"its state takes {state_bytes(optimizer):.2f} bytes for each weight")
        return
    wanted, theirs = _descend(like or config, device if like else "cpu")
    whose = f"{like.label} in fp32" if like else "those on a CPU"
    apart = float((way.cpu() - wanted.cpu()).square().mean().sqrt() / wanted.square().mean().sqrt())
    if not apart < ALLOWED:
        yield Finding(f"its steps don't agree with {whose}: {apart:.0%} apart after {STEPS}", False)
        return
    yield Finding(f"{STEPS} steps agree with {whose}: {apart:.1%} apart")
    own, full = state_bytes(optimizer), state_bytes(theirs)
    less = f" instead of {full:.2f}: {1 - own / full:.0%} less" if own < 0.99 * full else ""
    yield Finding(f"its state takes {own:.2f} bytes for each weight{less}")


def _descend(config: OptimizerConfig, device: str) -> tuple[Tensor, Optimizer]:
    """The way that 128 x 128 weights go in a few steps down |w - 0.3|^2."""
    import torch

    start = torch.linspace(-1, 1, 128 * 128, device=device).reshape(128, 128)
    weights = torch.nn.Parameter(start.clone())
    optimizer = config.build([{"params": [weights], "lr": config.usual_rate}])
    for _ in range(STEPS):
        optimizer.zero_grad()
        (weights - 0.3).square().sum().backward()
        optimizer.step()
    return weights.detach() - start, optimizer


def state_bytes(optimizer: Optimizer) -> float:
    """Measured bytes of state for each weight; tables that all tensors share, as bitsandbytes', are left out."""
    import torch

    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    tensors = [
        value
        for weight in weights
        for name, value in optimizer.state[weight].items()
        if isinstance(value, torch.Tensor) and not name.startswith("qmap")
    ]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / sum(w.numel() for w in weights)
