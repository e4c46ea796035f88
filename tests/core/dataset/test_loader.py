"""Batches are the same from the cache and encoded as they come, in any order, and errors reach whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from core.contracts import Batch, Framing
from core.dataset.batches import Plan
from core.dataset.cache import Cache, ImageEncoder, TextEncoder, fill_latents, fill_text
from core.dataset.loader import Loader, Sources
from core.dataset.read_ahead import read_ahead
from core.dataset.settings import Buckets, Concept, ConceptImage, ConceptText
from core.dataset.survey import survey
from core.errors import OchreError, PictureError

EPOCHS = 2


@pytest.fixture
def plan(concept: Concept, buckets: Buckets) -> Plan:
    concept.image, concept.text = ConceptImage(flip=True), ConceptText(shuffle_tags=True, caption_dropout=0.2)
    concept.loss_weight = 0.5
    entries = survey([concept], buckets).entries
    return Plan(entries, [concept], buckets, batch_size=2, accumulation=2, seed=3)


@pytest.fixture
def images() -> ImageEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = torch.nn.Conv2d(3, 4, 8, stride=8)
    return ImageEncoder(layer, "vae", "fp32", batch_size=3)


@pytest.fixture
def texts() -> list[TextEncoder]:
    def encode(captions: Sequence[str]) -> list[dict[str, torch.Tensor]]:
        return [{"hidden": torch.tensor([float(letter) for letter in c.encode()] + [0.0])} for c in captions]

    return [TextEncoder(part, encode, f"weights of {part}", "fp32") for part in ("text_1", "text_2")]


@pytest.fixture
def cache(plan: Plan, images: ImageEncoder, texts: list[TextEncoder], tmp_path: Path) -> Cache:
    cache = Cache(tmp_path / "cache")
    fill_latents([(plan.entries[index], flip) for index, flip in plan.images()], cache, images)
    for encoder in texts:
        fill_text(plan.captions(EPOCHS), cache, encoder)
    return cache


def all_batches(loader: Loader) -> Iterator[Batch]:
    for epoch in range(EPOCHS):
        for step in range(loader.plan.steps_per_epoch(epoch)):
            batches = loader.step(epoch, step)
            assert len(batches) == len(loader.plan.epoch(epoch)[step].ranks[loader.rank])
            yield from batches


def assert_equal(first: Batch, second: Batch) -> None:
    assert torch.equal(first.latents, second.latents)
    assert torch.equal(first.weights, second.weights)
    assert (first.captions, first.names, first.samples) == (second.captions, second.names, second.samples)
    assert first.framings == second.framings
    for one, other in zip(first.encoded, second.encoded, strict=True):
        assert {p: e["hidden"].tolist() for p, e in one.items()} == {p: e["hidden"].tolist() for p, e in other.items()}


def test_cached_and_live_batches_are_equal(
    plan: Plan, images: ImageEncoder, texts: list[TextEncoder], cache: Cache
) -> None:
    def never(*given: object) -> None:
        raise AssertionError("everything is in the cache")

    gone = [TextEncoder(e.part, never, e.fingerprint, e.dtype) for e in texts]  # type: ignore[arg-type]
    without = ImageEncoder(never, images.fingerprint, images.dtype, images.batch_size)  # type: ignore[arg-type]
    with (
        Loader(plan, Sources(without, gone, cache, cache)) as cached,
        Loader(plan, Sources(images, texts, None, None)) as live,
        Loader(plan, Sources(images, texts, cache, None)) as mixed,
    ):
        for first, second, third in zip(all_batches(cached), all_batches(live), all_batches(mixed), strict=True):
            assert_equal(first, second)
            assert_equal(first, third)


def test_what_a_batch_holds(plan: Plan, images: ImageEncoder, texts: list[TextEncoder], cache: Cache) -> None:
    with Loader(plan, Sources(images, texts, cache, cache)) as loader:
        seen = 0
        for batch in all_batches(loader):
            seen += len(batch.names)
            height, width = batch.framings[0].target
            assert batch.latents.shape == (len(batch.names), 4, height // 8, width // 8)
            assert batch.latents.dtype == torch.float32
            assert batch.weights.tolist() == [0.5] * len(batch.names)
            assert batch.kinds == ["standard"] * len(batch.names)
            assert [set(one) for one in batch.encoded] == [{"text_1", "text_2"}] * len(batch.names)
            for caption, one in zip(batch.captions, batch.encoded, strict=True):
                assert bytes(int(v) for v in one["text_1"]["hidden"][:-1]).decode() == caption
        assert seen == 12 * EPOCHS
        wide = next(b for b in all_batches(loader) if b.framings[0].target == (96, 160))
        assert wide.framings[0] == Framing(original=(130, 200), crop=(4, 0), target=(96, 160))


def test_batches_in_another_order_are_the_same(plan: Plan, images: ImageEncoder, texts: list[TextEncoder]) -> None:
    places = [(epoch, step) for epoch in range(EPOCHS) for step in range(plan.steps_per_epoch(epoch))]
    with Loader(plan, Sources(images, texts, None, None)) as loader:
        forwards = {place: list(loader.step(*place)) for place in places}
        for place in reversed(places):
            for first, second in zip(forwards[place], loader.step(*place), strict=True):
                assert_equal(first, second)


def test_samples_that_do_not_count_weigh_nothing(plan: Plan, images: ImageEncoder, buckets: Buckets) -> None:
    few = Plan(plan.entries[:1], plan.concepts, buckets, batch_size=2, processes=2)
    weights = []
    for rank in range(2):
        with Loader(few, Sources(images, [], None, None), rank) as loader:
            weights += [batch.weights.tolist() for batch in loader.step(0, 0)]
    assert weights == [[0.5], [0.0]]


def test_a_file_missing_from_the_cache_is_told(
    plan: Plan, images: ImageEncoder, texts: list[TextEncoder], cache: Cache
) -> None:
    for path in (cache.folder / "latents").rglob("*.safetensors"):
        path.unlink()
    with (
        Loader(plan, Sources(images, texts, cache, cache)) as loader,
        pytest.raises(OchreError, match="gone from the cache"),
    ):
        list(loader.step(0, 0))


def test_a_picture_deleted_during_the_run_is_told(plan: Plan, images: ImageEncoder) -> None:
    with Loader(plan, Sources(images, [], None, None)) as loader:
        list(loader.step(0, 0))
        for entry in plan.entries:
            Path(entry.path).unlink()
        with pytest.raises(PictureError, match="can't be read"):
            for _ in all_batches(loader):
                pass


def test_closing_leaves_no_thread(plan: Plan, images: ImageEncoder) -> None:
    before = set(threading.enumerate())
    loader = Loader(plan, Sources(images, [], None, None))
    next(iter(loader.step(0, 0)))
    assert set(threading.enumerate()) - before
    loader.close()
    assert set(threading.enumerate()) <= before


def test_read_ahead_keeps_order_is_one_ahead_and_closes() -> None:
    started: list[int] = []

    def work(item: int) -> int:
        started.append(item)
        return item * 10

    assert list(read_ahead(work, range(5))) == [0, 10, 20, 30, 40]
    started.clear()
    before = threading.active_count()
    results = read_ahead(work, range(100))
    assert next(results) == 0
    results.close()
    assert len(started) <= 2
    assert threading.active_count() == before


def test_read_ahead_passes_an_error_on_in_its_place() -> None:
    results = read_ahead(lambda item: 10 // item, [5, 1, 0, 2])
    assert [next(results), next(results)] == [2, 10]
    with pytest.raises(ZeroDivisionError):
        next(results)
