"""The two betas of Adam's relatives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from core.errors import Problem
from core.settings import setting


def adams_betas() -> Any:
    """The setting of Adam's two betas."""
    return setting(
        [0.9, 0.999],
        "Betas",
        "How long gradients and their squares are remembered.",
        level="advanced",
        min_length=2,
        max_length=2,
    )


def check_betas(betas: Sequence[float]) -> Iterator[Problem]:
    """Each must be at least 0 and less than 1."""
    for index, beta in enumerate(betas):
        if not 0 <= beta < 1:
            yield Problem(f"betas.{index}", f"must be at least 0 and less than 1 (it is {beta:g})")
