"""Metadata files: which entry is which picture's."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dataset.caption_metadata import Matched, match_metadata

FOLDER = Path("/data/sets/cats")


def matched(keys: list[str], pictures: list[str], folder: Path = FOLDER) -> Matched:
    return match_metadata(keys, folder, [str(folder / name) for name in pictures])


@pytest.mark.parametrize(
    "key",
    [
        "/data/sets/cats/in/a.png",
        "/data/sets/cats/in/a",
        "/data/sets/dogs/../cats/in/a.png",
        "in/a.png",
        "in/a",
        "./in/a.png",
        "in\\a.png",
        "cats/in/a.png",
        "sets/cats/in/a",
        "../sets/cats/in/a.png",
        "a.png",
        "a",
    ],
)
def test_a_key_in_each_form(key: str) -> None:
    found = matched(["in/other.png", key, "b"], ["in/a.png", "c.png"])
    assert found.keys == [key, None]
    assert not found.ambiguous and not found.moved


def test_the_nearest_key_counts() -> None:
    keys = ["a", "a.png", "in/a.png", "in/a", "/data/sets/cats/in/a.png"]
    assert matched(keys, ["in/a.png"]).keys == ["in/a.png"]
    assert matched(["a", "in/a"], ["in/a.png", "a.png"]).keys == ["in/a", "a"]


def test_a_name_with_its_ending_goes_before_one_without() -> None:
    assert matched(["a.png", "a.png.jpg"], ["a.png", "a.png.jpg"]).keys == ["a.png", "a.png.jpg"]
    found = matched(["a.png"], ["a.png", "a.png.jpg"])
    assert found.keys == ["a.png", None] and not found.ambiguous


def test_keys_of_other_folders_are_left_to_them() -> None:
    found = matched(["/data/sets/cats/a.png", "/data/sets/dogs/a.png", "/data/sets/dogs/b.png"], ["a.png", "b.png"])
    assert found.keys == ["/data/sets/cats/a.png", None]
    assert not found.unused


def test_keys_of_this_folder_without_picture_are_told() -> None:
    keys = ["/data/sets/cats/a.png", "/data/sets/cats/gone.png", "in/lost.png", "b", "/data/sets/dogs/x.png"]
    assert matched(keys, ["a.png", "in/c.png"]).unused == ["/data/sets/cats/gone.png", "in/lost.png", "b"]


def test_a_moved_set() -> None:
    keys = ["/old/cats/a.png", "/old/cats/in/b.png", "/old/dogs/a.png", "/old/dogs/c.png", "/old/dogs/in/b.png"]
    found = matched(keys, ["a.png", "in/b.png", "c.png"])
    assert found.keys == ["/old/cats/a.png", "/old/cats/in/b.png", None]  # the folder of the same name
    assert found.moved == "/old/cats"
    keys = ["/old/x/a.png", "/old/x/b.png", "/old/y/a.png"]
    assert matched(keys, ["a.png", "b.png"]).moved == "/old/x"  # the one with more of the pictures


def test_two_folders_that_are_as_likely() -> None:
    found = matched(["/x/a.png", "/y/a.png"], ["a.png"])
    assert found.keys == [None] and found.rivals == ["/x", "/y"]


def test_a_name_that_fits_several() -> None:
    found = matched(["a"], ["a.png", "a.jpg", "in/a.png", "b.png"])
    assert found.ambiguous == {"a": ["/data/sets/cats/a.png", "/data/sets/cats/a.jpg"]}  # nearer than in/a.png
    assert found.keys == ["a", "a", None, None]


def test_accents_in_either_form() -> None:
    """macOS takes letters and accents apart."""
    assert matched(["Cafe\u0301.png"], ["Caf\u00e9.png"]).keys == ["Cafe\u0301.png"]
    assert matched(["Caf\u00e9"], ["Cafe\u0301.png"]).keys == ["Caf\u00e9"]


def test_a_link_to_the_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    key = str(tmp_path / "real" / "a.png")
    found = matched([key], ["a.png"], tmp_path / "link")
    assert found.keys == [key] and not found.moved


def test_keys_that_name_nothing() -> None:
    assert matched(["", ".", "/", "..", "\\"], ["a.png"]).keys == [None]


NAMES = st.text("abc 😀.", min_size=1, max_size=4).filter(lambda name: name.strip(". ") == name)
PLACES = st.lists(
    st.tuples(st.sampled_from(["", "x/", "x/y/"]), NAMES), min_size=1, max_size=8, unique_by=lambda place: place
)


@given(PLACES, st.sampled_from(["{folder}/{place}.png", "{place}.png", "{place}", "cats/{place}.png"]), st.randoms())
def test_every_picture_finds_its_own_key(places: list[tuple[str, str]], form: str, draw: random.Random) -> None:
    pictures = [f"{folder}{name}.png" for folder, name in places]
    keys = [form.format(folder=FOLDER, place=name[:-4]) for name in pictures]
    mixed = draw.sample(keys, len(keys))
    found = matched(mixed, pictures)
    assert found.keys == keys and not found.ambiguous and not found.unused
