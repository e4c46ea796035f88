"""Every random draw of a run: a pure function of the seed, of its purpose, and of numbers such as the epoch."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Generator

Item = TypeVar("Item")


def key_for(seed: int, purpose: str, *numbers: int) -> int:
    """A key of 63 bits; different purposes or numbers give unrelated keys."""
    text = "/".join([str(seed), purpose, *map(str, numbers)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator_for(seed: int, purpose: str, *numbers: int) -> Generator:
    """A torch generator on the CPU, so that a draw is the same on every device."""
    import torch

    return torch.Generator("cpu").manual_seed(key_for(seed, purpose, *numbers))


def uniform_for(seed: int, purpose: str, *numbers: int) -> float:
    """One number in [0, 1), without torch."""
    return (key_for(seed, purpose, *numbers) >> 10) / 2**53


def shuffled(items: Sequence[Item], seed: int, purpose: str, *numbers: int) -> list[Item]:
    """The items in a drawn order, without torch.

    Sorted by drawn numbers: of Python's generator only `random()` is promised to stay the same between versions.
    """
    draw = random.Random(key_for(seed, purpose, *numbers)).random
    return [item for _, _, item in sorted((draw(), place, item) for place, item in enumerate(items))]
