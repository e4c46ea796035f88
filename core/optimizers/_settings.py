"""Settings that several optimizers have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from core.errors import Problem
from core.settings import setting


def adams_betas(default: Sequence[float] = (0.9, 0.999)) -> Any:
    """The setting of Adam's two betas."""
    return setting(
        list(default),
        "Betas",
        "How long gradients and their squares are remembered.",
        level="advanced",
        min_length=2,
        max_length=2,
        also=("beta1", "beta2"),
    )


def three_betas(default: Sequence[float], description: str) -> Any:
    """The setting of three betas; description: what each is for."""
    return setting(
        list(default),
        "Betas",
        description,
        level="advanced",
        min_length=3,
        max_length=3,
        also=("beta1", "beta2", "beta3"),
    )


def weight_decay(default: float = 0.0) -> Any:
    """The setting of weight decay."""
    return setting(default, "Weight decay", "Pulls weights towards zero at each step.", ge=0, level="advanced")


def epsilon(default: float = 1e-8) -> Any:
    """The setting of the number that keeps a division by zero away."""
    return setting(default, "Epsilon", "Keeps the division stable.", gt=0, level="advanced", also=("eps",))


def check_betas(betas: Sequence[float], name: str = "betas") -> Iterator[Problem]:
    """Each must be at least 0 and less than 1."""
    for index, beta in enumerate(betas):
        if not 0 <= beta < 1:
            yield Problem(f"{name}.{index}", f"must be at least 0 and less than 1 (it is {beta:g})")


def momentum(default: float = 0.0) -> Any:
    """The setting of how long gradients are remembered, for optimizers that have one such number."""
    return setting(
        default, "Momentum", "How long gradients are remembered; 0 is not at all.", ge=0, lt=1, level="advanced"
    )


def amsgrad() -> Any:
    """The setting of AMSGrad."""
    return setting(
        False,
        "AMSGrad",
        "Divides by the greatest of the remembered squares, so that steps don't grow again; 4 bytes more per weight.",
        level="advanced",
    )


def decoupled_decay(default: bool) -> Any:
    """The setting of where weight decay goes."""
    return setting(
        default,
        "Decoupled decay",
        "Weight decay as in AdamW; off, it is added to the gradient.",
        level="advanced",
        also=("decouple", "decoupled_decay"),
    )


def bias_correction() -> Any:
    """The setting of Adam's correction of the beginning, for optimizers that leave it out."""
    return setting(False, "Bias correction", "Adam's: begins gently, as with a warm-up.", level="advanced")


def squares_memory() -> Any:
    """The setting of how long RMSprop remembers."""
    return setting(
        0.99, "Alpha", "How long the gradients' squares are remembered.", gt=0, lt=1, level="advanced", also=("alpha",)
    )


def lions_betas() -> Any:
    """The setting of Lion's two betas."""
    return setting(
        [0.9, 0.99],
        "Betas",
        "How much of the remembered gradient goes into a step, and how long it is remembered.",
        level="advanced",
        min_length=2,
        max_length=2,
        also=("beta1", "beta2"),
    )
