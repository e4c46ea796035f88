"""The cache finds what was encoded under the same conditions, and nothing else; broken files are written anew."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from core.contracts import Size
from core.dataset.cache import Cache, ImageEncoder, TextEncoder, encode_pixels, fill_latents, fill_text, read_pixels
from core.dataset.manifest import Entry
from core.dataset.settings import Buckets, Concept
from core.dataset.survey import survey
from core.errors import PictureError, TrainingError


class Counting:
    """A small real encoder that notes the size of each batch it gets."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = torch.nn.Conv2d(3, 4, 8, stride=8)
            self.words = torch.nn.Embedding(256, 8)

    def images(self, pixels: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(pixels))
        return self.layer(pixels)

    def captions(self, captions: Sequence[str]) -> list[dict[str, torch.Tensor]]:
        self.calls.append(len(captions))
        return [{"hidden": self.words(torch.tensor(list(c.encode()) or [0])).half()} for c in captions]


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def entries(concept: Concept, buckets: Buckets) -> list[Entry]:
    return survey([concept], buckets).entries


def test_tensors_come_back_as_they_went(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    tensors = {"a": torch.randn(3, 4), "b": torch.randn(2).to(torch.bfloat16)}
    assert cache.get("text", "abcd") is None
    cache.put("text", "abcd", tensors)
    assert cache.path("text", "abcd") == tmp_path / "text" / "ab" / "abcd.safetensors"
    found = cache.get("text", "abcd")
    assert found is not None
    assert all(
        torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in tensors.items()
    )
    assert cache.get("latents", "abcd") is None


def test_each_thing_that_changes_the_latents_changes_their_key(entries: list[Entry], counting: Counting) -> None:
    encoder, entry = ImageEncoder(counting.images, "vae", "fp32", 1), entries[0]
    changed = dataclasses.replace
    keys = [
        encoder.key(entry, False),
        encoder.key(entry, True),
        encoder.key(changed(entry, sha256="other"), False),
        encoder.key(changed(entry, bucket=Size(64, 64)), False),
        changed(encoder, fingerprint="other").key(entry, False),
        changed(encoder, dtype="fp16").key(entry, False),
        changed(encoder, batch_size=2).key(entry, False),
    ]
    assert len(set(keys)) == len(keys)
    same = changed(entry, path="moved.png", caption="other", concept=3, name="x")
    assert encoder.key(same, False) == keys[0]


def test_each_thing_that_changes_an_encoding_changes_its_key(counting: Counting) -> None:
    encoder = TextEncoder("text_1", counting.captions, "weights", "fp32")
    changes = [{"part": "text_2"}, {"fingerprint": "other"}, {"dtype": "fp16"}, {"clip_skip": 2}, {"batch_size": 4}]
    keys = [encoder.key("cat"), encoder.key("dog"), *(dataclasses.replace(encoder, **c).key("cat") for c in changes)]
    assert len(set(keys)) == len(keys)


def test_filling_encodes_what_is_missing_and_only_that(
    entries: list[Entry], counting: Counting, tmp_path: Path
) -> None:
    cache, encoder = Cache(tmp_path / "cache"), ImageEncoder(counting.images, "vae", "fp32", 2)
    told: list[tuple[int, int]] = []
    assert fill_latents([(entry, False) for entry in entries[:5]], cache, encoder)
    assert counting.calls == [2, 2, 2]
    wanted = [(entry, flip) for entry in entries[:5] for flip in (False, True)]
    assert fill_latents(wanted, cache, encoder, lambda done, total: told.append((done, total)))
    assert counting.calls == [2] * 6
    assert told == [(5, 10), (7, 10), (9, 10), (10, 10)]
    assert fill_latents(wanted, cache, encoder)
    assert len(counting.calls) == 6
    plain, mirrored = (cache.get("latents", encoder.key(entries[0], flip)) for flip in (False, True))
    assert plain is not None
    assert mirrored is not None
    assert plain["latents"].shape == (4, 16, 16)
    assert plain["latents"].dtype == torch.float32
    assert not torch.equal(plain["latents"], mirrored["latents"])


def test_latents_do_not_depend_on_what_else_is_missing(
    entries: list[Entry], counting: Counting, tmp_path: Path
) -> None:
    encoder = ImageEncoder(counting.images, "vae", "fp32", 4)
    together, alone = Cache(tmp_path / "together"), Cache(tmp_path / "alone")
    fill_latents([(entry, False) for entry in entries], together, encoder)
    for entry in reversed(entries):
        fill_latents([(entry, False)], alone, encoder)
    for entry in entries:
        key = encoder.key(entry, False)
        first, second = together.get("latents", key), alone.get("latents", key)
        assert first is not None
        assert second is not None
        assert torch.equal(first["latents"], second["latents"])


def test_captions(counting: Counting, tmp_path: Path) -> None:
    cache, encoder = Cache(tmp_path), TextEncoder("text_1", counting.captions, "weights", "fp16", batch_size=4)
    assert fill_text({"cat", "", "a dog"}, cache, encoder)
    assert counting.calls == [4]
    found = cache.get("text", encoder.key("a dog"))
    assert found is not None
    assert found["hidden"].shape == (5, 8)
    assert found["hidden"].dtype == torch.float16
    assert not found["hidden"].requires_grad
    assert fill_text({"cat", "new"}, cache, encoder)
    assert counting.calls == [4, 4]


def test_it_can_be_stopped_and_goes_on(entries: list[Entry], counting: Counting, tmp_path: Path) -> None:
    cache, encoder = Cache(tmp_path / "cache"), ImageEncoder(counting.images, "vae", "fp32", 1)
    wanted = [(entry, False) for entry in entries]
    assert not fill_latents(wanted, cache, encoder, should_stop=lambda: len(counting.calls) == 3)
    assert len(counting.calls) == 3
    assert fill_latents(wanted, cache, encoder)
    assert len(counting.calls) == len(entries)
    texts = TextEncoder("text_1", counting.captions, "weights", "fp32")
    assert not fill_text({"a", "b"}, cache, texts, should_stop=lambda: True)


@pytest.mark.parametrize("damage", ["half", "empty", "nonsense", "without its end"])
def test_a_broken_file_is_written_anew(
    damage: str, entries: list[Entry], counting: Counting, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache, encoder = Cache(tmp_path / "cache"), ImageEncoder(counting.images, "vae", "fp32", 1)
    wanted = [(entries[0], False)]
    fill_latents(wanted, cache, encoder)
    path = cache.path("latents", encoder.key(*wanted[0]))
    whole = path.read_bytes()
    damaged = {"half": whole[: len(whole) // 2], "empty": b"", "nonsense": b"x" * 500, "without its end": whole[:-1]}
    path.write_bytes(damaged[damage])
    with caplog.at_level(logging.WARNING):
        assert cache.get("latents", path.stem) is None
        fill_latents(wanted, cache, encoder)
    assert str(path) in caplog.text
    assert path.read_bytes() == whole
    assert list(path.parent.iterdir()) == [path]


def test_a_picture_that_changed_after_it_was_looked_at_does_not_get_in(
    entries: list[Entry], counting: Counting, tmp_path: Path
) -> None:
    Image.new("RGB", (128, 128), "red").save(entries[0].path)
    with pytest.raises(PictureError, match=r"00\.png has changed"):
        fill_latents([(entries[0], False)], Cache(tmp_path / "cache"), ImageEncoder(counting.images, "vae", "fp32"))
    assert not (tmp_path / "cache").exists()


def test_values_that_are_not_finite_are_an_error_that_names_the_picture(entries: list[Entry]) -> None:
    encoder = ImageEncoder(lambda pixels: pixels / 0, "vae", "fp16", 2)
    shown = [(entries[0], False), (entries[1], False)]
    with pytest.raises(TrainingError, match=r"00\.png, pictures/01\.png.*fp16"):
        encode_pixels(read_pixels(shown), shown, encoder)
