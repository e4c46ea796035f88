"""Buckets as kohya's trainer makes and chooses them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.lora import LoraConfig
from core.contracts import Size
from core.dataset.buckets import (
    Resolution,
    bucket_for,
    bucket_sizes,
    choose_bucket,
    parse_resolutions,
    shrinking_bucket,
)
from core.dataset.settings import Buckets, Concept
from core.errors import PictureError
from core.settings.checks import validate


def size(width: int, height: int) -> Size:
    return Size(height=height, width=width)


@pytest.mark.parametrize(
    ("resolution", "minimum", "maximum", "step", "count"),
    [
        (512, 256, 1024, 64, 17),
        (768, 256, 1024, 64, 19),
        (1024, 256, 2048, 64, 41),
        (1024, 512, 2048, 64, 33),
        (1024, 256, 2048, 32, 81),
    ],
)
def test_as_many_as_kohyas_trainer_makes(resolution: int, minimum: int, maximum: int, step: int, count: int) -> None:
    sizes = bucket_sizes(resolution, step, minimum, maximum)
    assert len(sizes) == len(set(sizes)) == count
    assert [(s.width, s.height) for s in sizes] == sorted((s.width, s.height) for s in sizes)
    assert size(resolution, resolution) in sizes


def test_the_buckets_of_512() -> None:
    sizes = {(s.width, s.height) for s in bucket_sizes(512, 64, 256, 1024)}
    assert {(256, 1024), (320, 768), (384, 640), (448, 576), (512, 512), (1024, 256)} <= sizes


@given(st.integers(64, 2048), st.sampled_from([8, 16, 32, 64]), st.integers(8, 512), st.integers(2048, 4096))
def test_sides_and_areas_are_within_bounds(resolution: int, step: int, minimum: int, maximum: int) -> None:
    for bucket in bucket_sizes(resolution, step, minimum, maximum):
        assert bucket.area <= resolution**2
        assert bucket.width % step == bucket.height % step == 0
        square = bucket.width == bucket.height == resolution // step * step
        assert square or minimum - step < min(bucket.width, bucket.height)
        assert max(bucket.width, bucket.height) < maximum + step


def test_bounds_are_rounded_outwards_to_the_step() -> None:
    assert bucket_sizes(512, 64, 300, 1000) == bucket_sizes(512, 64, 256, 1024)


def test_a_step_larger_than_the_resolution_fits_nothing_and_is_a_problem() -> None:
    assert bucket_sizes(64, 128, 64, 256) == ()
    _, problems = validate(Buckets, {"resolution": 64, "step": 128, "minimum": 64})
    assert [problem.path for problem in problems] == ["step"]


def test_the_exact_size_wins_over_another_of_the_same_shape() -> None:
    sizes = [size(512, 512), size(1024, 1024), size(640, 384)]
    assert choose_bucket(size(1024, 1024), sizes) == size(1024, 1024)
    assert choose_bucket(size(900, 900), sizes) == size(512, 512)


def test_the_nearest_ratio_is_meant_linearly() -> None:
    """Half-way between 0.4 and 1 is 0.7, and between 1 and 2 it is 1.5; by the ratio of ratios, 0.63 and 1.41."""
    tall, square, wide = size(400, 1000), size(1000, 1000), size(2000, 1000)
    assert choose_bucket(size(660, 1000), [tall, square]) == tall
    assert choose_bucket(size(740, 1000), [tall, square]) == square
    assert choose_bucket(size(1450, 1000), [square, wide]) == square


def test_a_photograph_at_1024() -> None:
    settings = Buckets(resolution=1024, minimum=256, maximum=2048)
    assert bucket_for(size(1500, 1000), settings, Resolution(1024, 1024)) == size(1216, 832)


def test_without_bucketing_all_are_square() -> None:
    settings = Buckets(resolution=520, aspect_ratio_bucketing=False)
    side = settings.largest()
    assert bucket_for(size(1500, 1000), settings, side) == bucket_for(size(100, 300), settings, side) == size(512, 512)
    small = Buckets(resolution=512, aspect_ratio_bucketing=False, no_upscale=True)
    assert bucket_for(size(400, 300), small, small.largest()) == size(256, 256)


@pytest.mark.parametrize(
    ("picture", "bucket"),
    [
        (size(300, 200), size(256, 192)),  # small: its sides rounded down
        (size(512, 512), size(512, 512)),
        (size(1500, 1000), size(576, 384)),  # large: 627 by 418 at the area; 576 by 384 is exactly 3 : 2
        (size(1000, 1000), size(512, 512)),
    ],
)
def test_never_enlarged(picture: Size, bucket: Size) -> None:
    assert shrinking_bucket(picture, 512, 64, 1024) == bucket


@given(st.integers(64, 4000), st.integers(64, 4000))
def test_a_bucket_that_never_enlarges_is_no_larger_than_the_picture(width: int, height: int) -> None:
    try:
        bucket = shrinking_bucket(size(width, height), 512, 64, 1024)
    except PictureError:
        assert max(width, height) / min(width, height) > 12
        return
    assert bucket.width <= width
    assert bucket.height <= height
    assert max(bucket.width, bucket.height) <= 1024


def test_a_picture_too_narrow_for_any_bucket() -> None:
    with pytest.raises(PictureError, match="40x300"):
        shrinking_bucket(size(40, 300), 512, 64, 1024)


@pytest.mark.parametrize(
    ("text", "resolutions"),
    [
        ("512", [(512, 512, False)]),
        ("512, 768,1024", [(512, 512, False), (768, 768, False), (1024, 1024, False)]),
        ("768x1152", [(768, 1152, True)]),
        (" 512 , 768 X 1152 ", [(512, 512, False), (768, 1152, True)]),
        ("512x512", [(512, 512, True)]),
    ],
)
def test_resolutions_as_people_write_them(text: str, resolutions: list[tuple[int, int, bool]]) -> None:
    assert list(parse_resolutions(text)) == resolutions


@pytest.mark.parametrize("text", ["", "512,", "big", "512 768", "-512", "32", "9999", "500x301", "512, 512", "512.5"])
def test_what_is_no_resolution_is_a_problem(text: str) -> None:
    _, problems = validate(Buckets, {"resolution": text})
    assert [problem.path for problem in problems] == ["resolution"]


@pytest.mark.parametrize(
    ("given", "text"), [(512, "512"), ([512, 768], "512, 768"), (["512", "768x640"], "512, 768x640")]
)
def test_a_file_may_hold_numbers_and_lists(given: object, text: str) -> None:
    buckets, problems = validate(Buckets, {"resolution": given})
    assert buckets and not problems
    assert buckets.resolution == text


def test_an_exact_size_is_had_exactly_whatever_the_picture() -> None:
    settings = Buckets(resolution="768x1152")
    for picture in (size(3000, 200), size(768, 1152), size(10, 10)):
        assert bucket_for(picture, settings, settings.largest()) == size(768, 1152)
    small = Buckets(resolution="768x1152", no_upscale=True)
    assert bucket_for(size(800, 1200), small, small.largest()) == size(768, 1152)
    with pytest.raises(PictureError, match="700x1200"):
        bucket_for(size(700, 1200), small, small.largest())


def test_a_concepts_own_resolution_comes_first() -> None:
    buckets = Buckets(resolution="512", maximum=1024)
    assert buckets.resolutions(Concept()) == (Resolution(512, 512),)
    assert buckets.resolutions(Concept(resolution="768, 1024")) == (Resolution(768, 768), Resolution(1024, 1024))
    config = {"base": {"source": "x"}, "concepts": [{"folder": "f", "resolution": "64"}]}
    assert [problem.path for problem in validate(LoraConfig, config)[1]] == ["concepts.0.resolution"]
