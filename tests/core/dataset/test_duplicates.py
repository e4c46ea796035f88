"""Pictures that look nearly the same are found, all of them, and no others."""

from __future__ import annotations

import random
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from core.dataset.duplicates import NEAR, NEAR_COLOUR, near_groups
from core.dataset.looks import colours, fingerprint


def by_comparing_all(fingerprints: list[int], most: int, tints: list[bytes] | None = None) -> list[tuple[int, ...]]:
    """The groups, found the long way: every pair, and then everything that hangs together."""
    group = list(range(len(fingerprints)))
    for one, other in combinations(range(len(fingerprints)), 2):
        near = (fingerprints[one] ^ fingerprints[other]).bit_count() <= most
        if tints:
            near = near and all(abs(a - b) <= NEAR_COLOUR for a, b in zip(tints[one], tints[other], strict=True))
        if near:
            old, new = group[other], group[one]
            group = [new if mine == old else mine for mine in group]
    members = {name: tuple(i for i, mine in enumerate(group) if mine == name) for name in group}
    return sorted(found for found in members.values() if len(found) > 1)


@pytest.mark.parametrize("most", [0, 1, NEAR, 7, 12, 30])
@pytest.mark.parametrize("seed", range(3))
def test_the_same_groups_as_by_comparing_all_pairs(most: int, seed: int) -> None:
    draw = random.Random(seed)
    seeds = [draw.getrandbits(64) for _ in range(60)]
    near = [value ^ sum(1 << bit for bit in draw.sample(range(64), draw.randint(0, most + 2))) for value in seeds * 4]
    fingerprints = seeds + near
    draw.shuffle(fingerprints)
    found = near_groups(fingerprints, most=most)
    assert found == by_comparing_all(fingerprints, most)
    assert found


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 255).map(lambda low: low << 30), max_size=40))
def test_any_fingerprints(fingerprints: list[int]) -> None:
    assert near_groups(fingerprints) == by_comparing_all(fingerprints, NEAR)


@pytest.mark.parametrize("seed", range(3))
def test_colours_count_too(seed: int) -> None:
    draw = random.Random(seed)
    fingerprints = [draw.choice([0, 7, 1 << 60, 12345 << 20]) for _ in range(150)]
    tints = [bytes(draw.choice([10, 30, 90, 200]) for _ in range(3)) for _ in fingerprints]
    found = near_groups(fingerprints, tints)
    assert found == by_comparing_all(fingerprints, NEAR, tints)
    assert 1 < len(found) < 150
    assert found != near_groups(fingerprints)


def test_a_picture_in_other_colours_is_another() -> None:
    one = picture(3)
    other = Image.merge("RGB", one.split()[::-1])
    assert near_groups([fingerprint(one)] * 2, [colours(one), colours(other)]) == []
    assert len(colours(one)) == 12
    mean = np.asarray(one, dtype=np.float64)[:150, :200].mean(axis=(0, 1))
    assert np.abs(mean - list(colours(one)[:3])).max() <= 1


def test_a_chain_is_one_group() -> None:
    chain = [(1 << length) - 1 for length in range(0, 64, NEAR)]
    assert near_groups([*chain, 1 << 63 | 1 << 40 | 1 << 5 | 1 << 9 | 1 << 7]) == [tuple(range(16))]
    assert near_groups([]) == near_groups([5]) == []


def test_many_fingerprints_are_not_compared_pair_by_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40,000 random fingerprints, under a thousandth of the 800 million pairs is looked at."""
    compared = 0
    count = np.bitwise_count

    def counting(values: np.ndarray) -> np.ndarray:
        nonlocal compared
        compared += len(values)
        return count(values)

    monkeypatch.setattr(np, "bitwise_count", counting)
    fingerprints = np.random.default_rng(0).integers(0, 2**64, 40_000, dtype=np.uint64).tolist()
    fingerprints[30_000] = fingerprints[17] ^ 0b1001
    assert near_groups(fingerprints) == [(17, 30_000)]
    assert 0 < compared < 800_000


def picture(seed: int) -> Image.Image:
    """Smooth blots of colour."""
    small = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((400, 300), Image.Resampling.BICUBIC)


def test_a_fingerprint_is_the_difference_hash_of_another_way_to_shrink() -> None:
    """Held against the mean over each cell, in float64."""
    grey = np.asarray(picture(1).convert("L"), dtype=np.float64)
    cells = grey[:296].reshape(8, 37, 400)[:, :, :396].reshape(8, 37, 9, 44).mean(axis=(1, 3))
    bits = "".join("01"[int(left < right)] for row in cells for left, right in pairwise(row))
    assert (int(bits, 2) ^ fingerprint(picture(1))).bit_count() <= 3


def test_a_fingerprint_outlives_resizing_and_compression(tmp_path: Path) -> None:
    for seed in range(8):
        original = picture(seed)
        original.resize((173, 131), Image.Resampling.LANCZOS).save(tmp_path / "small.jpg", quality=60)
        with Image.open(tmp_path / "small.jpg") as small:
            assert (fingerprint(original) ^ fingerprint(small.convert("RGB"))).bit_count() <= NEAR
    others = [fingerprint(picture(seed)) for seed in range(8)]
    assert near_groups(others) == []
