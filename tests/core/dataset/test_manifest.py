"""A run's pictures, frozen at its start, and what is told when they changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.contracts import Size
from core.dataset.manifest import Manifest, Tile, sha256_of, verify
from core.dataset.settings import Buckets, Concept
from core.dataset.survey import survey
from core.errors import PictureError, WorkspaceError


@pytest.fixture
def manifest(concept: Concept, buckets: Buckets) -> Manifest:
    return Manifest(tuple(survey([concept], buckets).entries))


def test_it_comes_back_equal(manifest: Manifest) -> None:
    assert Manifest.from_json(manifest.to_json()) == manifest
    tile = Tile(Size(height=500, width=700), 30, 40, 128)
    tiled = replace(manifest.entries[0], tile=tile, mask="ab", conditioning="cd", captions=("one", ""))
    more = Manifest((tiled, *manifest.entries), {1: ("a line", "another, with 😀")})
    assert Manifest.from_json(more.to_json()) == more


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"version": 99, "entries": []}', '{"version": 1, "entries": [{}]}']
)
def test_another_file_is_an_error(text: str) -> None:
    with pytest.raises(WorkspaceError, match="list of pictures"):
        Manifest.from_json(text)


def test_pictures_that_are_the_same_pass_whatever_their_captions(manifest: Manifest) -> None:
    Path(manifest.entries[0].path).with_suffix(".txt").write_text("another caption")
    assert verify(manifest) == []


def test_changed_and_missing_pictures_are_named(manifest: Manifest) -> None:
    Path(manifest.entries[0].path).write_bytes(b"other")
    Path(manifest.entries[1].path).unlink()
    with pytest.raises(PictureError) as error:
        verify(manifest)
    assert f"{manifest.entries[0].path}: has changed" in str(error.value)
    assert f"{manifest.entries[1].path}: is missing" in str(error.value)
    assert manifest.entries[2].path not in str(error.value)


def test_a_mask_that_changed_is_named(manifest: Manifest) -> None:
    entry = replace(manifest.entries[0], mask=sha256_of(b"a mask"), conditioning=sha256_of(b"another"))
    mask, conditioning = (
        Path(entry.path).with_name(f"{Path(entry.path).stem}-{kind}.png") for kind in ("masklabel", "condlabel")
    )
    mask.write_bytes(b"a mask")
    conditioning.write_bytes(b"another")
    assert verify(Manifest((entry,))) == []
    mask.write_bytes(b"another mask")
    conditioning.unlink()
    with pytest.raises(PictureError) as error:
        verify(Manifest((entry,)))
    assert f"{mask}: has changed" in str(error.value)
    assert f"{conditioning}: is missing" in str(error.value)


def test_a_picture_whose_encodings_are_cached_is_not_needed(manifest: Manifest) -> None:
    gone = manifest.entries[1]
    Path(gone.path).unlink()
    (note,) = verify(manifest, lambda entry: entry == gone)
    assert note.path == gone.path
    assert "cache" in note.reason
