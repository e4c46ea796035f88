"""What is missing is encoded, and only that; a pass goes on where it was; reading is bounded and errors arrive."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from core.contracts import Size
from core.dataset import filling
from core.dataset.cache import Cache
from core.dataset.encoders import ImageEncoder, TextEncoder
from core.dataset.filling import fill_latents, fill_text
from core.dataset.manifest import Entry, Tile
from core.dataset.pictures import Decoded, decode
from core.dataset.read_ahead import read_ahead
from core.dataset.settings import Buckets, Concept, ConceptImage
from core.dataset.survey import survey
from core.dataset.views import Shown, View
from core.errors import OchreError, PictureError


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
def shown(concept: Concept, buckets: Buckets) -> list[Shown]:
    """Five pictures of one bucket, four of another, three of a third."""
    return [Shown(entry, View(entry.buckets[0]), concept.image) for entry in survey([concept], buckets).entries]


def mirrored(shown: Sequence[Shown]) -> list[Shown]:
    return [one._replace(view=dataclasses.replace(one.view, flip=True)) for one in shown]


def test_filling_encodes_what_is_missing_and_only_that(shown: list[Shown], counting: Counting, tmp_path: Path) -> None:
    cache, encoder = Cache(tmp_path / "cache"), ImageEncoder(counting.images, "vae", "fp32", 2)
    told: list[tuple[int, int]] = []
    assert fill_latents(shown[:5], cache, encoder)
    assert counting.calls == [2, 2, 2]
    wanted = [*shown[:5], *mirrored(shown[:5])]
    assert fill_latents(wanted, cache, encoder, lambda done, total: told.append((done, total)))
    assert counting.calls == [2] * 6
    assert told == [(5, 10), (7, 10), (9, 10), (10, 10)]
    assert fill_latents(wanted, cache, encoder)
    assert len(counting.calls) == 6
    plain, flipped = (cache.get("latents", encoder.key(one)) for one in (wanted[0], wanted[5]))
    assert plain is not None and flipped is not None
    assert plain["latents"].shape == (4, 16, 16)
    assert plain["latents"].dtype == torch.float32
    assert not torch.equal(plain["latents"], flipped["latents"])


def test_batches_lie_within_buckets(shown: list[Shown], tmp_path: Path) -> None:
    sizes: list[tuple[int, ...]] = []

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        sizes.append(tuple(pixels.shape))
        return pixels[:, :, ::8, ::8]

    assert fill_latents(shown, Cache(tmp_path / "cache"), ImageEncoder(encode, "vae", "fp32", 4))
    buckets = {(one.view.bucket.height, one.view.bucket.width) for one in shown}
    assert len(buckets) == 3
    assert {size[2:] for size in sizes} == buckets
    assert [size[0] for size in sizes] == [4] * 4  # 5 + 4 + 3 pictures


def test_latents_do_not_depend_on_what_else_is_missing(shown: list[Shown], counting: Counting, tmp_path: Path) -> None:
    encoder = ImageEncoder(counting.images, "vae", "fp32", 4)
    together, alone = Cache(tmp_path / "together"), Cache(tmp_path / "alone")
    fill_latents(shown, together, encoder)
    for one in reversed(shown):
        fill_latents([one], alone, encoder)
    for one in shown:
        key = encoder.key(one)
        first, second = together.get("latents", key), alone.get("latents", key)
        assert first is not None and second is not None
        assert torch.equal(first["latents"], second["latents"])


def test_changing_one_caption_encodes_one_caption(counting: Counting, tmp_path: Path) -> None:
    cache, encoder = Cache(tmp_path), TextEncoder("text_1", counting.captions, "weights", "fp16")
    assert fill_text({"cat", "", "a dog"}, cache, encoder)
    assert len(counting.calls) == 3
    assert fill_text({"cat", "", "a brown dog"}, cache, encoder)
    assert len(counting.calls) == 4
    found = cache.get("text", encoder.key("a brown dog"))
    assert found is not None
    assert found["hidden"].shape == (11, 8)
    assert found["hidden"].dtype == torch.float16
    assert not found["hidden"].requires_grad
    fours = dataclasses.replace(encoder, batch_size=4)
    counting.calls.clear()
    assert fill_text({"cat", "new"}, cache, fours)
    assert counting.calls == [4]


def test_it_can_be_stopped_and_goes_on(shown: list[Shown], counting: Counting, tmp_path: Path) -> None:
    cache, encoder = Cache(tmp_path / "cache"), ImageEncoder(counting.images, "vae", "fp32", 1)
    assert not fill_latents(shown, cache, encoder, should_stop=lambda: len(counting.calls) == 3)
    assert len(counting.calls) == 3
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 3, "what was encoded is there"
    assert fill_latents(shown, cache, encoder)
    assert len(counting.calls) == len(shown)
    texts = TextEncoder("text_1", counting.captions, "weights", "fp32")
    assert not fill_text({"a", "b"}, cache, texts, should_stop=lambda: True)


def test_what_was_encoded_before_an_error_stays(shown: list[Shown], counting: Counting, tmp_path: Path) -> None:
    cache, encoder = Cache(tmp_path / "cache"), ImageEncoder(counting.images, "vae", "fp32", 1)
    Path(shown[3].entry.path).unlink()
    with pytest.raises(PictureError, match=r"03\.png"):
        fill_latents(shown, cache, encoder)
    assert [cache.has("latents", encoder.key(one)) for one in shown[:4]] == [True, True, True, False]
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith(("cache-writer", "read-ahead"))]


def test_a_damaged_entry_is_made_again(
    shown: list[Shown], counting: Counting, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache, encoder = Cache(tmp_path / "cache"), ImageEncoder(counting.images, "vae", "fp32", 1)
    fill_latents(shown, cache, encoder)
    path = cache.path("latents", encoder.key(shown[2]))
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    counting.calls.clear()
    with caplog.at_level(logging.WARNING):
        fill_latents(shown, cache, encoder)
    assert counting.calls == [1]
    assert str(path) in caplog.text
    assert path.read_bytes() == whole


def test_what_another_run_encodes_meanwhile_is_not_encoded_again(
    shown: list[Shown], counting: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, encoder = Cache(tmp_path / "cache"), ImageEncoder(counting.images, "vae", "fp32", 1)
    other = Counting()
    monkeypatch.setattr(filling, "READERS", 1)

    def the_other_runs() -> bool:
        if not other.calls:
            fill_latents(shown, cache, ImageEncoder(other.images, "vae", "fp32", 1))
        return False

    assert fill_latents(shown, cache, encoder, should_stop=the_other_runs)
    assert len(other.calls) == len(shown)
    assert len(counting.calls) <= 4, "those that had been read already"


@pytest.mark.slow
def test_two_processes_fill_one_folder_at_once(shown: list[Shown], concept: Concept, tmp_path: Path) -> None:
    code = f"""
import sys, torch
from pathlib import Path
from core.dataset.cache import Cache
from core.dataset.encoders import ImageEncoder
from core.dataset.filling import fill_latents
from core.dataset.settings import Buckets, Concept
from core.dataset.survey import survey
from core.dataset.views import Shown, View
torch.manual_seed(0)
layer = torch.nn.Conv2d(3, 4, 8, stride=8)
concept = Concept.model_validate_json({concept.model_dump_json()!r})
entries = survey([concept], Buckets(resolution="128", step=32, minimum=64, maximum=256)).entries
encoder = ImageEncoder(layer, "vae", "fp32", 2)
shown = [Shown(entry, View(entry.buckets[0]), concept.image) for entry in entries]
Path(sys.argv[1]).touch()
while not Path(sys.argv[2]).exists(): pass
cache = Cache({str(tmp_path / "cache")!r})
assert fill_latents(shown, cache, encoder)
print(*(float(cache.get("latents", encoder.key(one))["latents"].sum()) for one in shown))
"""
    ready = [tmp_path / "one", tmp_path / "two"]
    runs = [
        subprocess.Popen([sys.executable, "-c", code, str(a), str(b)], stdout=subprocess.PIPE, text=True)
        for a, b in (ready, ready[::-1])
    ]
    said = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert said[0] == said[1] and len(said[0].split()) == len(shown)
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == len(shown)
    assert list((tmp_path / "cache").rglob("*.part")) == []


def test_a_picture_that_changed_after_it_was_looked_at_does_not_get_in(
    shown: list[Shown], counting: Counting, tmp_path: Path
) -> None:
    Image.new("RGB", (128, 128), "red").save(shown[0].entry.path)
    with pytest.raises(PictureError, match=r"00\.png has changed"):
        fill_latents(shown[:1], Cache(tmp_path / "cache"), ImageEncoder(counting.images, "vae", "fp32"))
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_vanishes_into_a_file_is_an_error_with_its_name(
    shown: list[Shown], counting: Counting, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("no folder")
    with pytest.raises(OchreError, match="can't be written") as caught:
        fill_latents(shown, Cache(tmp_path / "cache"), ImageEncoder(counting.images, "vae", "fp32"))
    assert str(tmp_path / "cache") in str(caught.value)


def tiles(entry: Entry, count: int) -> list[Shown]:
    found = [dataclasses.replace(entry, tile=Tile(Size(100, 160), 4 * n, 8 * n, 32)) for n in range(count)]
    return [Shown(tile, View(Size(32, 32)), ConceptImage()) for tile in found]


def test_tiles_of_a_picture_are_cut_from_one_reading_of_it(
    shown: list[Shown], counting: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def reading(data: bytes, path: str, background: str) -> Decoded:
        read.append(Path(path).name)
        return decode(data, path, background)

    monkeypatch.setattr("core.dataset.pixels.decode", reading)
    wanted = [one for pair in zip(tiles(shown[5].entry, 9), tiles(shown[6].entry, 9), strict=True) for one in pair]
    cache, encoder = Cache(tmp_path / "cache"), ImageEncoder(counting.images, "vae", "fp32", 4)
    assert fill_latents(wanted, cache, encoder)
    assert sorted(read) == ["05.png", "06.png"]
    assert counting.calls == [4] * 5
    alone = Cache(tmp_path / "alone")
    for one in wanted:
        fill_latents([one], alone, encoder)
        together, single = (which.get("latents", encoder.key(one)) for which in (cache, alone))
        assert together is not None and single is not None
        assert torch.equal(together["latents"], single["latents"])


def test_how_far_is_read_ahead_is_bounded_by_memory(shown: list[Shown]) -> None:
    small, photo = shown[0], dataclasses.replace(shown[0].entry, width=6000, height=4000)
    large = Shown(photo, View(Size(1024, 1024)), ConceptImage())
    cost = filling._memory_of([("key", large)])
    assert cost == 3 * 6000 * 4000 + 16 * 1024**2
    assert 8 < filling._MEMORY // cost < 16
    assert filling._MEMORY // filling._memory_of([("key", small)]) == 64
    assert filling._memory_of([("key", large)] * 5) == cost + 4 * 16 * 1024**2


def test_read_ahead_counts_what_items_cost() -> None:
    started: list[int] = []
    results = read_ahead(started.append, [1, 1, 1, 6, 1, 9, 1, 1], ahead=8, threads=1, cost=lambda item: item)
    next(results)
    results.close()
    assert len(started) <= 4, "1 + 1 + 1 + 6 is more than 8"
    assert len(list(read_ahead(str, [5, 5, 5], ahead=1, cost=lambda item: item))) == 3


def test_read_ahead_keeps_order_is_bounded_and_closes() -> None:
    started: list[int] = []

    def work(item: int) -> int:
        started.append(item)
        return item * 10

    assert list(read_ahead(work, range(5))) == [0, 10, 20, 30, 40]
    assert list(read_ahead(work, range(50), ahead=7, threads=3)) == [item * 10 for item in range(50)]
    started.clear()
    before = threading.active_count()
    results = read_ahead(work, range(100), ahead=3, threads=2)
    assert next(results) == 0
    assert len(started) <= 4
    results.close()
    assert len(started) <= 4
    assert threading.active_count() == before


def test_read_ahead_works_on_several_at_once() -> None:
    meeting = threading.Barrier(3, timeout=20)
    assert len(list(read_ahead(lambda item: meeting.wait(), range(6), ahead=3, threads=3))) == 6


def test_read_ahead_passes_an_error_on_in_its_place() -> None:
    results = read_ahead(lambda item: 10 // item, [5, 1, 0, 2])
    assert [next(results), next(results)] == [2, 10]
    with pytest.raises(ZeroDivisionError):
        next(results)
