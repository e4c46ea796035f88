"""A share of the pictures is never learned, and it is always the same one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contracts import Size
from core.dataset.batches import Batching, Plan
from core.dataset.held_out import held_out, spared
from core.dataset.manifest import Entry, Manifest, Tile, sha256_of
from core.dataset.report import Run
from core.dataset.reporting import HELD_OUT, make_report
from core.dataset.settings import Buckets, Concept
from core.dataset.survey import look_through
from core.dataset.validation import validation_draws

SIDE = Size(64, 64)


def entry(content: object, concept: int = 0, **more: Any) -> Entry:
    sha256 = sha256_of(str(content).encode())
    return Entry(f"{content}-{concept}.png", sha256, 64, 64, (), concept, (SIDE,), f"{content}.png", **more)


def concepts(*kinds: str) -> list[Concept]:
    return [Concept(name=f"{kind} {index}", kind=kind) for index, kind in enumerate(kinds)]  # type: ignore[arg-type]


def contents(entries: list[Entry], held: frozenset[int]) -> set[str]:
    return {entries[index].name for index in held}


@pytest.mark.parametrize(
    ("count", "share", "expected"), [(10, 0.1, 1), (10, 0.25, 2), (10, 0.9, 9), (3, 0.1, 1), (2, 0.9, 1), (1, 0.5, 0)]
)
def test_so_many_are_held_out(count: int, share: float, expected: int) -> None:
    entries = [entry(content) for content in range(count)]
    held = held_out(entries, concepts("standard"), share, 7)
    assert len(held) == expected
    assert spared(entries, concepts("standard"), held) == ([] if expected else [0])
    assert not held_out(entries, concepts("standard"), 0.0, 7)


def test_which_hangs_on_seed_and_content_alone() -> None:
    entries = [entry(content) for content in range(50)]
    one = contents(entries, held_out(entries, concepts("standard"), 0.2, 7))
    turned = list(reversed(entries))
    assert contents(turned, held_out(turned, concepts("standard"), 0.2, 7)) == one
    assert contents(entries, held_out(entries, concepts("standard"), 0.2, 8)) != one
    more = [*entries, *(entry(f"new {content}") for content in range(5))]
    later = contents(more, held_out(more, concepts("standard"), 0.2, 7))
    assert len(later) == 11 and len(one - later) <= 4, "pictures that come change little"


def test_the_larger_share_holds_the_smaller() -> None:
    entries = [entry(content) for content in range(50)]
    shares = [contents(entries, held_out(entries, concepts("standard"), share, 7)) for share in (0.1, 0.3, 0.6)]
    assert shares[0] < shares[1] < shares[2]


def test_tiles_go_with_their_picture() -> None:
    tiles = [Tile(SIDE, 0, left, 32) for left in (0, 32)]
    entries = [entry(content, tile=tile) for content in range(6) for tile in (None, *tiles)]
    held = held_out(entries, concepts("standard"), 0.3, 7)
    assert len(held) == 6
    assert len(contents(entries, held)) == 2


def test_only_standard_concepts_give_any() -> None:
    kinds = concepts("standard", "regularisation", "prior_prediction", "validation")
    entries = [entry((number, content), number) for number in range(4) for content in range(6)]
    assert {entries[index].concept for index in held_out(entries, kinds, 0.5, 7)} == {0}
    off = [kinds[0].model_copy(update={"enabled": False}), *kinds[1:]]
    assert not held_out(entries, off, 0.5, 7)


pictures = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), min_size=1, max_size=40, unique=True)


@given(pictures, st.floats(0.01, 0.9), st.integers(0, 5))
def test_nothing_is_both_learned_and_measured_and_something_is_left(
    which: list[tuple[int, int]], share: float, seed: int
) -> None:
    """With copies of pictures in several concepts of several kinds."""
    kinds = concepts("standard", "standard", "regularisation", "validation")
    entries = [entry(content, concept) for content, concept in which]
    held = held_out(entries, kinds, share, seed)
    learned = [one for index, one in enumerate(entries) if kinds[one.concept].trains and index not in held]
    assert not {entries[index].sha256 for index in held} & {one.sha256 for one in learned}
    for number in (0, 1):
        own = {one.sha256 for one in entries if one.concept == number}
        left = {one.sha256 for one in learned if one.concept == number}
        assert bool(own) == bool(left)
        assert len(own - left) <= max(1, round(share * len(own)))


def test_a_plan_shows_them_in_no_epoch_and_measures_each_once() -> None:
    entries = [entry(content) for content in range(10)]
    held = held_out(entries, concepts("standard"), 0.3, 7)
    plan = Plan(Manifest(tuple(entries)), [Concept(repeats=2)], Buckets(), Batching(2), held_out=held)
    draws = [
        draw for epoch in range(3) for step in plan.epoch(epoch) for rank in step.ranks for b in rank for draw in b
    ]
    assert {draw.entry for draw in draws} == set(range(10)) - held
    assert plan.samples_per_epoch() == 14
    assert {shown.entry.name for shown in plan.images(3)} == {one.name for one in entries} - contents(entries, held)
    assert [draw.entry for draw in validation_draws(plan)] == sorted(held)


def test_the_report_tells_which(make_folder: Any) -> None:
    found = look_through([Concept(folder=str(make_folder(*[(64, 64)] * 5)))], Buckets(resolution="64", minimum=64))
    held = held_out(found.entries, found.concepts, 0.4, 7)
    plan = Plan(Manifest(tuple(found.entries)), found.concepts, Buckets(), Batching(2), held_out=held)
    report = make_report(found, Buckets(), Run(plan))
    told = {fate.path for fate in report.pictures if HELD_OUT in fate.why}
    assert told == {found.entries[index].path for index in held} and len(told) == 2
    assert all(fate.used for fate in report.pictures)
    assert not any(fate.why for fate in make_report(found, Buckets(), Run()).pictures)
