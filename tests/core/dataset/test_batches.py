"""The plan shows every picture as often as it should, in batches of one size, and purely by its arguments."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contracts import Size
from core.dataset.batches import Draw, Plan
from core.dataset.manifest import Entry
from core.dataset.settings import Buckets, Concept, ConceptImage, ConceptText
from core.errors import PictureError

Remainder = Literal["smaller_batch", "repeat", "drop"]
SIZES = [Size(128, 128), Size(96, 160), Size(160, 96)]


def entries_of(buckets: list[int], concepts: list[int] | None = None) -> list[Entry]:
    concepts = concepts or [0] * len(buckets)
    return [
        Entry(f"{i}.png", f"hash {i}", 200, 200, f"cat, tag {i}, odd, small", concept, SIZES[bucket], f"{i}")
        for i, (bucket, concept) in enumerate(zip(buckets, concepts, strict=True))
    ]


def draws_of(plan: Plan, epoch: int) -> list[Draw]:
    return [d for step in plan.epoch(epoch) for rank in step.ranks for batch in rank for d in batch if d.counts]


@st.composite
def plans(draw: Any, remainders: tuple[str, ...] = get_args(Remainder)) -> Plan:
    buckets = draw(st.lists(st.integers(0, 2), min_size=1, max_size=25))
    concepts = [draw(st.integers(0, 1)) for _ in buckets]
    repeats = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    return Plan(
        entries_of(buckets, concepts),
        [Concept(repeats=repeats[0], image=ConceptImage(flip=True)), Concept(repeats=repeats[1])],
        Buckets(remainder=draw(st.sampled_from(remainders))),  # type: ignore[arg-type]
        batch_size=draw(st.integers(1, 5)),
        accumulation=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 2**40)),
        processes=draw(st.integers(1, 4)),
    )


@given(plans(("smaller_batch",)), st.integers(0, 3))
def test_every_picture_is_shown_exactly_its_repeats(plan: Plan, epoch: int) -> None:
    shown = Counter(draw.entry for draw in draws_of(plan, epoch))
    assert shown == {i: plan.concepts[entry.concept].repeats for i, entry in enumerate(plan.entries)}
    assert len({(draw.entry, draw.repeat) for draw in draws_of(plan, epoch)}) == sum(shown.values())


@given(plans(("repeat",)))
def test_repeat_fills_every_batch_and_loses_nothing(plan: Plan) -> None:
    shown = Counter(draw.entry for draw in draws_of(plan, 0))
    base = {i: plan.concepts[entry.concept].repeats for i, entry in enumerate(plan.entries)}
    assert all(shown[i] >= repeats for i, repeats in base.items())
    assert sum(shown.values()) == plan.samples_per_epoch
    assert sum(shown.values()) % plan.batch_size == 0
    assert sum(shown.values()) - sum(base.values()) < plan.batch_size * len(SIZES)


@given(st.lists(st.integers(0, 2), min_size=4, max_size=25), st.integers(1, 2), st.integers(0, 99))
def test_drop_shows_only_full_batches(buckets: list[int], size: int, seed: int) -> None:
    plan = Plan(entries_of(buckets), [Concept()], Buckets(remainder="drop"), size, seed=seed)
    batches = [batch for step in plan.epoch(0) for batch in step.ranks[0]]
    assert {len(batch) for batch in batches} == {size}
    assert len(buckets) - len(draws_of(plan, 0)) == plan.left_over()


def test_what_is_dropped_changes_from_epoch_to_epoch() -> None:
    plan = Plan(entries_of([0] * 7), [Concept()], Buckets(remainder="drop"), 4)
    assert {draw.entry for epoch in range(20) for draw in draws_of(plan, epoch)} == set(range(7))


@given(st.data())
def test_steps_are_of_one_bucket_and_alike_in_all_processes(data: st.DataObject) -> None:
    try:
        plan = data.draw(plans())
    except PictureError:
        return  # everything would be dropped
    steps = plan.epoch(1)
    assert len(steps) == plan.steps_per_epoch(1) > 0
    for step in steps:
        assert len(step.ranks) == plan.processes
        assert len({len(rank) for rank in step.ranks}) == 1
        assert 1 <= len(step.ranks[0]) <= plan.accumulation
        assert step.samples > 0
        for batch in (batch for rank in step.ranks for batch in rank):
            assert 1 <= len(batch) <= plan.batch_size
            assert len({plan.entries[draw.entry].bucket for draw in batch}) == 1
    assert all(len(step.ranks[0]) == plan.accumulation for step in steps[:-1])


@given(plans(("smaller_batch", "repeat")))
def test_samples_have_numbers_of_their_own(plan: Plan) -> None:
    samples = [draw.sample for epoch in range(3) for draw in draws_of(plan, epoch)]
    assert len(set(samples)) == len(samples)


@given(plans(("smaller_batch", "repeat")))
def test_the_same_arguments_give_the_same_plan(plan: Plan) -> None:
    buckets = Buckets(remainder=plan.remainder)
    again = Plan(plan.entries, plan.concepts, buckets, plan.batch_size, plan.accumulation, plan.seed, plan.processes)
    assert again.epoch(2) == plan.epoch(2)  # asked for out of order, too
    assert again.epoch(0) == plan.epoch(0)


@given(plans(("smaller_batch",)), st.integers(1, 4))
def test_processes_share_what_one_would_do_with_more_accumulation(plan: Plan, processes: int) -> None:
    """The same steps of the same samples, so that several processes learn what one does."""
    buckets = Buckets(remainder=plan.remainder)
    many = Plan(plan.entries, plan.concepts, buckets, plan.batch_size, plan.accumulation, plan.seed, processes)
    one = Plan(plan.entries, plan.concepts, buckets, plan.batch_size, plan.accumulation * processes, plan.seed)

    def samples(of: Plan) -> list[list[int]]:
        return [
            sorted(d.sample for rank in step.ranks for batch in rank for d in batch if d.counts) for step in of.epoch(0)
        ]

    assert samples(many) == samples(one)
    assert [step.samples for step in many.epoch(0)] == [step.samples for step in one.epoch(0)]


def test_a_last_batch_is_split_and_a_last_sample_repeated_without_counting() -> None:
    split = Plan(entries_of([0] * 4), [Concept()], Buckets(), batch_size=4, processes=3).epoch(0)
    assert [[len(batch) for batch in rank] for rank in split[0].ranks] == [[1], [1], [2]]
    (step,) = Plan(entries_of([0]), [Concept()], Buckets(), batch_size=4, processes=3).epoch(0)
    assert [[draw.counts for draw in rank[0]] for rank in step.ranks] == [[True], [False], [False]]
    assert step.samples == 1


def test_order_and_batches_change_with_epoch_and_seed() -> None:
    entries = entries_of([0] * 20)
    plan, other = (Plan(entries, [Concept()], Buckets(), 4, seed=seed) for seed in (1, 2))
    orders = [[draw.entry for draw in draws_of(p, epoch)] for p in (plan, other) for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 6


def test_captions_are_all_that_are_shown_and_no_others() -> None:
    concepts = [
        Concept(repeats=2, trigger_word="sks", text=ConceptText(shuffle_tags=True, caption_dropout=0.3)),
        Concept(trigger_word="dog"),
    ]
    plan = Plan(entries_of([0, 1, 0, 1, 2], [0, 0, 1, 1, 0]), concepts, Buckets(), 2, seed=5)
    shown = {draw.caption for epoch in range(6) for draw in draws_of(plan, epoch)}
    assert plan.captions(6) == shown
    assert "" in shown
    assert "dog, cat, tag 2, odd, small" in shown


def test_half_of_the_showings_are_mirrored_where_that_is_set() -> None:
    concepts = [Concept(repeats=50, image=ConceptImage(flip=True)), Concept(repeats=50)]
    plan = Plan(entries_of([0] * 20, [0, 1] * 10), concepts, Buckets(), 4)
    draws = draws_of(plan, 0)
    mirrored = Counter(plan.entries[draw.entry].concept for draw in draws if draw.flip)
    assert 0.42 < mirrored[0] / 500 < 0.58
    assert mirrored[1] == 0
    assert plan.images() == [
        pair for i in range(20) for pair in ([(i, False), (i, True)] if i % 2 == 0 else [(i, False)])
    ]


def test_the_report_tells_what_does_not_fill_a_batch() -> None:
    entries = entries_of([0] * 6 + [1] * 3)
    notes = {
        name: Plan(entries, [Concept()], Buckets(remainder=name), 4).remainder_notes()
        for name in get_args(Remainder)
    }  # fmt: skip
    assert notes["smaller_batch"][0].startswith("In each epoch 5 are shown in 2 smaller batches")
    assert notes["repeat"][0].startswith("In each epoch 3 are shown once more")
    assert notes["drop"][0].startswith("In each epoch 5 are not shown, 3 of them in no epoch")
    assert Plan(entries, [Concept()], Buckets(), 3).remainder_notes() == []


def test_a_plan_that_would_drop_everything_is_an_error() -> None:
    with pytest.raises(PictureError, match="smaller batch size"):
        Plan(entries_of([0, 0, 1]), [Concept()], Buckets(remainder="drop"), 4)
