"""The plan shows every picture as often as it should, in batches of one size, and purely by its arguments."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from typing import Any, Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contracts import Size
from core.dataset.batches import Batching, Draw, Plan
from core.dataset.manifest import Entry, Manifest, Tile, sha256_of
from core.dataset.settings import Buckets, Concept, ConceptImage, ConceptText
from core.dataset.turns import Pool
from core.errors import PictureError

Remainder = Literal["smaller_batch", "repeat", "drop"]
SIZES = [Size(128, 128), Size(96, 160), Size(160, 96)]


def entries_of(buckets: list[int], concepts: list[int] | None = None, sizes: int = 1) -> list[Entry]:
    """sizes: how many buckets, one after the other, an entry is shown at."""
    concepts = concepts or [0] * len(buckets)
    return [
        Entry(
            path=f"{i}.png",
            sha256=sha256_of(str(i).encode()),
            width=200,
            height=200,
            captions=(f"cat, tag {i}, odd, small",),
            concept=concept,
            buckets=tuple(SIZES[(bucket + more) % 3] for more in range(sizes)),
            name=f"{i}",
        )
        for i, (bucket, concept) in enumerate(zip(buckets, concepts, strict=True))
    ]


def plan_of(entries: list[Entry], concepts: list[Concept], batch_size: int = 4, seed: int = 0, **more: Any) -> Plan:
    """more: Batching's, and the remainder."""
    buckets = Buckets(remainder=more.pop("remainder", "smaller_batch"))
    kept = {name: more.pop(name) for name in ("keeps_images", "keeps_text") if name in more}
    return Plan(Manifest(tuple(entries)), concepts, buckets, Batching(batch_size, **more), seed, **kept)


def draws_of(plan: Plan, epoch: int) -> list[Draw]:
    return [d for step in plan.epoch(epoch) for rank in step.ranks for batch in rank for d in batch if d.counts]


@st.composite
def plans(draw: Any, remainders: tuple[str, ...] = get_args(Remainder)) -> Plan:
    buckets = draw(st.lists(st.integers(0, 2), min_size=1, max_size=25))
    concepts = [draw(st.integers(0, 1)) for _ in buckets]
    repeats = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    return plan_of(
        entries_of(buckets, concepts),
        [Concept(repeats=repeats[0], image=ConceptImage(flip="random")), Concept(repeats=repeats[1])],
        remainder=draw(st.sampled_from(remainders)),
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
    assert sum(shown.values()) == plan.samples_per_epoch()
    assert sum(shown.values()) % plan.batching.batch_size == 0
    assert sum(shown.values()) - sum(base.values()) < plan.batching.batch_size * len(SIZES)


@given(st.lists(st.integers(0, 2), min_size=4, max_size=25), st.integers(1, 2), st.integers(0, 99))
def test_drop_shows_only_full_batches(buckets: list[int], size: int, seed: int) -> None:
    plan = plan_of(entries_of(buckets), [Concept()], size, seed, remainder="drop")
    batches = [batch for step in plan.epoch(0) for batch in step.ranks[0]]
    assert {len(batch) for batch in batches} == {size}
    assert len(buckets) - len(draws_of(plan, 0)) == plan.left_over()


def test_what_is_dropped_changes_from_epoch_to_epoch() -> None:
    plan = plan_of(entries_of([0] * 7), [Concept()], remainder="drop")
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
        assert len(step.ranks) == plan.batching.processes
        assert len({len(rank) for rank in step.ranks}) == 1
        assert 1 <= len(step.ranks[0]) <= plan.batching.accumulation
        assert step.samples > 0
        for batch in (batch for rank in step.ranks for batch in rank):
            assert 1 <= len(batch) <= plan.batching.batch_size
            assert len({draw.view.bucket for draw in batch}) == 1
    assert all(len(step.ranks[0]) == plan.batching.accumulation for step in steps[:-1])


@given(plans(("smaller_batch", "repeat")))
def test_samples_have_numbers_of_their_own(plan: Plan) -> None:
    samples = [draw.sample for epoch in range(3) for draw in draws_of(plan, epoch)]
    assert len(set(samples)) == len(samples)


@given(plans(("smaller_batch", "repeat")))
def test_the_same_arguments_give_the_same_plan(plan: Plan) -> None:
    again = Plan(
        Manifest(tuple(plan.entries)), plan.concepts, Buckets(remainder=plan.remainder), plan.batching, plan.seed
    )
    assert again.epoch(2) == plan.epoch(2)  # asked for out of order, too
    assert again.epoch(0) == plan.epoch(0)


@given(plans(("smaller_batch",)), st.integers(1, 4))
def test_processes_share_what_one_would_do_with_more_accumulation(plan: Plan, processes: int) -> None:
    """The same steps of the same samples, so that several processes learn what one does."""
    size, accumulation = plan.batching.batch_size, plan.batching.accumulation
    many, one = (
        plan_of(plan.entries, plan.concepts, size, plan.seed, accumulation=each, processes=processes)
        for each, processes in ((accumulation, processes), (accumulation * processes, 1))
    )

    def samples(of: Plan) -> list[list[int]]:
        return [
            sorted(d.sample for rank in step.ranks for batch in rank for d in batch if d.counts) for step in of.epoch(0)
        ]

    assert samples(many) == samples(one)
    assert [step.samples for step in many.epoch(0)] == [step.samples for step in one.epoch(0)]


def test_a_last_batch_is_split_and_a_last_sample_repeated_without_counting() -> None:
    split = plan_of(entries_of([0] * 4), [Concept()], processes=3).epoch(0)
    assert [[len(batch) for batch in rank] for rank in split[0].ranks] == [[1], [1], [2]]
    (step,) = plan_of(entries_of([0]), [Concept()], processes=3).epoch(0)
    assert [[draw.counts for draw in rank[0]] for rank in step.ranks] == [[True], [False], [False]]
    assert step.samples == 1


def test_order_and_batches_change_with_epoch_and_seed() -> None:
    entries = entries_of([0] * 20)
    plan, other = (plan_of(entries, [Concept()], seed=seed) for seed in (1, 2))
    orders = [[draw.entry for draw in draws_of(p, epoch)] for p in (plan, other) for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 6


CAPTION_SETTINGS = [
    {"shuffle_tags": True, "caption_dropout": 0.3},
    {"tag_dropout": "random", "tag_dropout_probability": 0.5},
    {"caps": ["upper", "lower"], "wildcards": True},
    {"caption_lines": "in_turn", "shuffle_tags": True},
    {"caption_lines": "random", "caption_dropout": 0.2},
]


@pytest.mark.parametrize("text", CAPTION_SETTINGS, ids=str)
@pytest.mark.parametrize("keeps_text", [True, False])
@pytest.mark.parametrize("epochs", [1, 6])
def test_captions_to_encode_are_all_that_are_shown(text: dict[str, Any], keeps_text: bool, epochs: int) -> None:
    entries = [
        replace(entry, captions=(*entry.captions, f"second {i}, a, b, c", f"third {i}"))
        for i, entry in enumerate(entries_of([0, 1, 0, 1, 2], [0, 0, 1, 1, 0]))
    ]
    concepts = [
        Concept(repeats=2.5, trigger_word="sks", text_variations=3, text=ConceptText(**text)),
        Concept(trigger_word="dog", text=ConceptText(caption_lines="in_turn")),
    ]
    plan = plan_of(entries, concepts, 2, seed=5, keeps_text=keeps_text)
    shown = {draw.caption for epoch in range(epochs) for draw in draws_of(plan, epoch)}
    if text.get("caption_dropout"):  # what is dropped each time is encoded all the same
        assert plan.captions(epochs) >= shown | {""}
    else:
        assert plan.captions(epochs) == shown
    assert "dog, cat, tag 2, odd, small" in shown


@pytest.mark.parametrize("remainder", get_args(Remainder))
def test_captions_of_what_fills_a_batch_are_there_too(remainder: str) -> None:
    text = ConceptText(caption_lines="random")
    entries = [replace(entry, captions=tuple("abcdef")) for entry in entries_of([0] * 5 + [1])]
    plan = plan_of(entries, [Concept(text=text)], 4, remainder=remainder)
    assert plan.captions(3) == {draw.caption for epoch in range(3) for draw in draws_of(plan, epoch)}


def test_a_tile_with_a_caption_keeps_it_beside_a_prompt_file() -> None:
    concept = Concept(text=ConceptText(prompt_source="prompt_file", prompt_path="lines.txt"))
    bare = [replace(entry, captions=()) for entry in entries_of([0] * 3)]
    manifest = Manifest((*bare, entries_of([0] * 4)[3]), {0: ("one line", "another")})
    plan = Plan(manifest, [concept], Buckets(), Batching(2))
    shown = {(draw.entry, draw.caption) for epoch in range(20) for draw in draws_of(plan, epoch)}
    assert {caption for entry, caption in shown if entry == 3} == {"cat, tag 3, odd, small"}
    assert {caption for entry, caption in shown if entry < 3} == {"one line", "another"}


def test_so_many_versions_of_a_caption_are_kept_as_is_set() -> None:
    concept = Concept(repeats=40, text_variations=4, text=ConceptText(shuffle_tags=True, caption_dropout=0.1))
    entries = [replace(entry, captions=("a, b, c, d, e, f",)) for entry in entries_of([0] * 3)]
    kept, anew = (plan_of(entries, [concept], keeps_text=kept) for kept in (True, False))
    per_picture = [{d.caption for d in draws_of(kept, 0) if d.entry == i and d.caption} for i in range(3)]
    assert {len(captions) for captions in per_picture} == {4}
    assert len({draw.caption for draw in draws_of(anew, 0)}) > 50
    assert "" in {draw.caption for draw in draws_of(kept, 0)}


@pytest.mark.parametrize("sizes", [1, 3])
@pytest.mark.parametrize("repeats", [0.4, 1, 5])
@pytest.mark.parametrize("keeps_images", [True, False])
def test_pictures_to_encode_are_all_that_are_shown(sizes: int, repeats: float, keeps_images: bool) -> None:
    image = ConceptImage(flip="random", crop_jitter=True, hue="random")
    entries = entries_of([0, 1, 2, 0, 1, 2, 0], [0, 0, 0, 0, 1, 1, 1], sizes)
    tile = Tile(Size(400, 400), 0, 100, 128)
    entries[0] = replace(entries[0], tile=tile, buckets=(SIZES[0],))
    concepts = [Concept(repeats=repeats, image_variations=2, image=image), Concept()]
    concepts[0].image.detail_crops.regenerate_each_epoch = True
    plan = plan_of(entries, concepts, 2, keeps_images=keeps_images)
    shown = {(draw.entry, draw.view) for epoch in range(7) for draw in draws_of(plan, epoch)}
    wanted = [(plan.entries.index(one.entry), one.view) for one in plan.images(7)]
    assert len(wanted) == len(set(wanted))
    assert set(wanted) == shown


def test_half_of_the_versions_are_mirrored_where_that_is_set() -> None:
    concepts = [Concept(repeats=50, image_variations=50, image=ConceptImage(flip="random")), Concept(repeats=50)]
    plan = plan_of(entries_of([0] * 20, [0, 1] * 10), concepts)
    draws = draws_of(plan, 0)
    mirrored = Counter(plan.entries[draw.entry].concept for draw in draws if draw.view.flip)
    assert 0.42 < mirrored[0] / 500 < 0.58
    assert mirrored[1] == 0


def test_a_fraction_goes_round_all_pictures() -> None:
    plan = plan_of(entries_of([0] * 10), [Concept(repeats=0.3)])
    shown = [[draw.entry for draw in draws_of(plan, epoch)] for epoch in range(10)]
    assert [len(epoch) for epoch in shown] == [3] * 10
    assert Counter(entry for epoch in shown for entry in epoch) == dict.fromkeys(range(10), 3)
    assert len({entry for epoch in shown[:3] for entry in epoch}) == 9


def test_so_many_samples_are_shown_as_are_set() -> None:
    entries = entries_of([0] * 10 + [1] * 4, [0] * 10 + [1] * 4)
    plan = plan_of(entries, [Concept(samples_per_epoch=25), Concept(samples_per_epoch=3)])
    for epoch in range(5):
        assert Counter(entries[draw.entry].concept for draw in draws_of(plan, epoch)) == {0: 25, 1: 3}
    every = Counter(draw.entry for epoch in range(2) for draw in draws_of(plan, epoch))
    assert {every[index] for index in range(10)} == {5}


@given(st.integers(1, 40), st.fractions(min_value="1/50", max_value=4), st.integers(0, 30))
def test_showings_are_numbered_through_the_run(count: int, repeats: Fraction, epochs: int) -> None:
    pool = Pool(0, list(range(count)), repeats * count)
    shown = [showing for epoch in range(epochs) for showing in pool.showings(epoch)]
    assert len(shown) == math.floor(repeats * count * epochs)
    assert len(set(shown)) == len(shown)
    times = Counter(entry for entry, _ in shown)
    assert all(pool.times(place, epochs) == times[place] for place in range(count))
    assert max(times.values(), default=0) - min((times[i] for i in range(count)), default=0) <= 1


def test_each_epoch_has_all_resolutions_and_each_picture_goes_through_them() -> None:
    entries = entries_of([0] * 60, sizes=3)
    plan = plan_of(entries, [Concept()], 4)
    seen = [{draw.entry: draw.view.bucket for draw in draws_of(plan, epoch)} for epoch in range(3)]
    for epoch in seen:
        assert set(epoch) == set(range(60))
        assert min(Counter(epoch.values()).values()) > 8
    assert all({epoch[index] for epoch in seen} == set(SIZES) for index in range(60))
    assert plan.total_steps(30) == sum(len(plan.epoch(epoch)) for epoch in range(30))
    assert plan.total_steps(30, most=7) == 7


def test_a_mask_is_left_out_in_the_share_of_showings_that_is_set() -> None:
    image = ConceptImage(mask="file", unmasked_probability=0.25)
    plan = plan_of(entries_of([0] * 20, [0, 1] * 10), [Concept(repeats=50, image=image), Concept(repeats=50)])
    masked = Counter((plan.entries[draw.entry].concept, draw.masked) for draw in draws_of(plan, 0))
    assert 0.68 < masked[0, True] / 500 < 0.82
    assert masked[1, True] == 0


def test_validation_pictures_are_not_shown() -> None:
    plan = plan_of(entries_of([0] * 6, [0, 1] * 3), [Concept(), Concept(kind="validation")])
    assert {draw.entry for draw in draws_of(plan, 0)} == {0, 2, 4}
    assert len(plan.images(3)) == 3


def test_another_picture_in_the_set_changes_no_draw_of_the_others() -> None:
    concept = Concept(image=ConceptImage(flip="random", rotate="random"), text=ConceptText(shuffle_tags=True))
    entries = entries_of([0] * 12)
    few, more = plan_of(entries[1:], [concept]), plan_of(entries, [concept])

    def views(plan: Plan) -> dict[str, Any]:
        return {plan.entries[d.entry].name: (d.view, d.caption) for d in draws_of(plan, 0)}

    all_views = views(more)
    del all_views["0"]
    assert views(few) == all_views


def test_the_report_tells_what_does_not_fill_a_batch() -> None:
    entries = entries_of([0] * 6 + [1] * 3)
    notes = {
        name: plan_of(entries, [Concept()], remainder=name).remainder_notes()
        for name in get_args(Remainder)
    }  # fmt: skip
    assert notes["smaller_batch"][0].startswith("In each epoch 5 are shown in 2 smaller batches")
    assert notes["repeat"][0].startswith("In each epoch 3 are shown once more")
    assert notes["drop"][0].startswith("In each epoch 5 are not shown, 3 of them in no epoch")
    assert plan_of(entries, [Concept()], 3).remainder_notes() == []


def test_an_epoch_may_show_nothing_and_is_passed_over() -> None:
    plan = plan_of(entries_of([0] * 4), [Concept(repeats=0.1)])
    steps = [plan.steps_per_epoch(epoch) for epoch in range(10)]
    assert sum(steps) == plan.total_steps(10) == 4
    assert plan.next_epoch(0) == steps.index(1)
    assert plan.next_epoch(steps.index(1)) == steps.index(1)


def test_a_plan_that_would_drop_everything_is_an_error() -> None:
    with pytest.raises(PictureError, match="smaller batch size"):
        plan_of(entries_of([0, 0, 1]), [Concept()], remainder="drop")
    with pytest.raises(PictureError, match="smaller batch size"):
        plan_of(entries_of([0, 0, 1]), [Concept(repeats=0.5)], remainder="drop")
