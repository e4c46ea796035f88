"""How a picture is shown in each of its versions."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from core.contracts import Size
from core.dataset.manifest import Entry, Tile, sha256_of
from core.dataset.settings import Change, Concept, ConceptImage, DetailCrops
from core.dataset.views import View, period_of, varies, view_of

BUCKETS = (Size(64, 64), Size(96, 96))


def entry_of(name: str = "a", tile: Tile | None = None) -> Entry:
    buckets = (Size(tile.side, tile.side),) if tile else BUCKETS
    return Entry(f"{name}.png", sha256_of(name.encode()), 500, 400, (), 0, buckets, name, tile=tile)


ALL = ConceptImage(
    flip="random",
    crop_jitter=True,
    rotate="random",
    rotate_angle=10,
    brightness="random",
    contrast="random",
    saturation="random",
    hue="random",
)


def test_with_nothing_set_a_picture_is_shown_as_it_is() -> None:
    assert view_of(entry_of(), Concept(), 1, 0, 0, True) in [View(bucket) for bucket in BUCKETS]
    assert not varies(ConceptImage())


@given(st.integers(0, 50), st.integers(0, 5), st.integers(1, 4))
def test_kept_views_come_round_again_and_do_not_hang_on_the_epoch(times: int, epoch: int, versions: int) -> None:
    concept, entry = Concept(image_variations=versions, image=ALL), entry_of()
    view = view_of(entry, concept, 3, times, epoch, kept=True)
    assert view == view_of(entry, concept, 3, times + period_of(entry, concept), 0, kept=True)


def test_views_that_are_not_kept_are_all_different() -> None:
    concept = Concept(image_variations=1, image=ALL)
    views = {view_of(entry_of(), concept, 3, times, 0, kept=False) for times in range(200)}
    assert len(views) == 200
    assert len({view_of(entry_of(), concept, 3, times, 0, kept=True) for times in range(200)}) == len(BUCKETS)


def test_draws_keep_to_their_strengths_and_fill_them() -> None:
    image = ALL.model_copy(update={"brightness_strength": 0.3, "hue_strength": 0.2, "contrast_strength": -0.1})
    concept = Concept(image=image)
    views = [view_of(entry_of(str(i)), concept, 1, 0, 0, True) for i in range(400)]
    assert 0.7 <= min(view.brightness for view in views) < 0.72
    assert 1.28 < max(view.brightness for view in views) <= 1.3
    assert max(abs(view.hue) for view in views) <= 0.2
    assert 0.9 <= min(view.contrast for view in views) <= max(view.contrast for view in views) <= 1.1
    assert max(abs(view.angle) for view in views) <= 10
    assert 150 < sum(view.flip for view in views) < 250
    assert len({view.place for view in views}) == 400


def test_fixed_changes_are_the_same_for_all() -> None:
    image = ConceptImage(flip="fixed", rotate="fixed", rotate_angle=-3, brightness="fixed", brightness_strength=-0.2)
    views = {view_of(entry_of(str(i)), Concept(image=image), 1, i, 0, True) for i in range(50)}
    assert {(view.flip, view.angle, view.brightness, view.contrast) for view in views} == {(True, -3, 0.8, 1.0)}
    assert not varies(image)


def test_each_random_change_counts_as_varying() -> None:
    random: Change = "random"
    for name in ("flip", "rotate", "brightness", "contrast", "saturation", "hue"):
        assert varies(ConceptImage(**{name: random}))
    assert varies(ConceptImage(crop_jitter=True))


@given(st.integers(0, 300), st.integers(0, 172), st.integers(0, 9))
def test_a_regenerated_tile_stays_inside_its_picture(top: int, left: int, epoch: int) -> None:
    tile = Tile(Size(height=428, width=300), top, left, 128)
    concept = Concept(image=ConceptImage(detail_crops=DetailCrops(regenerate_each_epoch=True)))
    down, right = view_of(entry_of(tile=tile), concept, 1, 0, epoch, True).shift
    assert 0 <= top + down <= 428 - 128
    assert 0 <= left + right <= 300 - 128
    assert max(abs(down), abs(right)) <= 64


def test_a_regenerated_tile_lies_elsewhere_in_each_epoch_and_others_do_not() -> None:
    tile = Tile(Size(512, 512), 128, 128, 128)
    new = Concept(image=ConceptImage(detail_crops=DetailCrops(regenerate_each_epoch=True)))
    shifts = Counter(view_of(entry_of(tile=tile), new, 1, 0, epoch, True).shift for epoch in range(50))
    assert len(shifts) > 45
    assert {view_of(entry_of(tile=tile), Concept(), 1, 0, epoch, True).shift for epoch in range(9)} == {(0, 0)}
