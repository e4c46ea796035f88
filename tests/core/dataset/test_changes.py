"""What is told when the pictures of a run are no longer what they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.dataset.changes import verify
from core.dataset.manifest import Manifest, sha256_of
from core.dataset.settings import Buckets, Concept
from core.dataset.survey import survey
from core.errors import PictureError


@pytest.fixture
def manifest(concept: Concept, buckets: Buckets) -> Manifest:
    return Manifest(tuple(survey([concept], buckets).entries))


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


def test_a_file_that_was_just_looked_at_is_not_read_again(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise AssertionError(f"{path} was read")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        assert verify(manifest) == []
    path = Path(manifest.entries[0].path)
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)  # of the same length
    with pytest.raises(PictureError, match="has changed"):
        verify(manifest)
