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
