"""The two betas of Adam's relatives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.errors import Problem


def check_betas(betas: Sequence[float]) -> Iterator[Problem]:
    """Each must be at least 0 and less than 1."""
    for index, beta in enumerate(betas):
        if not 0 <= beta < 1:
            yield Problem(f"betas.{index}", f"must be at least 0 and less than 1 (it is {beta:g})")
