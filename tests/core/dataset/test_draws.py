"""Draws depend on all of their arguments, and on nothing else."""

from __future__ import annotations

import torch

from core.dataset.draws import generator_for, key_for, shuffled, uniform_for


def test_keys_differ_in_every_argument_and_stay_the_same() -> None:
    arguments = [(1, "noise"), (2, "noise"), (1, "flip"), (1, "noise", 0), (1, "noise", 0, 0), (1, "noise", 1, 0)]
    keys = [key_for(*each) for each in arguments]  # type: ignore[arg-type]
    assert len(set(keys)) == len(keys)
    assert all(0 <= key < 2**63 for key in keys)
    assert key_for(1, "noise", 11, 2) != key_for(1, "noise", 1, 12)
    assert key_for(42, "noise", 7) == 1217072407952246476  # runs of earlier versions must go on as they began


def test_generators_are_equal_for_equal_arguments() -> None:
    first = torch.randn(4, generator=generator_for(1, "noise", 5))
    torch.manual_seed(99)
    assert torch.equal(first, torch.randn(4, generator=generator_for(1, "noise", 5)))
    assert not torch.equal(first, torch.randn(4, generator=generator_for(1, "noise", 6)))


def test_uniform_numbers_fill_their_range_evenly() -> None:
    draws = [uniform_for(3, "flip", number) for number in range(10_000)]
    assert 0 <= min(draws) < 0.01
    assert 0.99 < max(draws) < 1
    assert abs(sum(draws) / 10_000 - 0.5) < 0.015


def test_shuffling_loses_nothing_and_reaches_every_place() -> None:
    items = list("abcde")
    orders = {tuple(shuffled(items, 1, "order", number)) for number in range(2000)}
    assert len(orders) == 120
    assert all(sorted(order) == items for order in orders)
    assert items == list("abcde")
