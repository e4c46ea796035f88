"""Batches are the same from the cache and encoded as they come, in any order, and errors reach whoever asks."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from core.contracts import Batch
from core.dataset.batches import Batching, Plan
from core.dataset.cache import Cache
from core.dataset.encoders import ImageEncoder, TextEncoder
from core.dataset.filling import fill_latents, fill_text
from core.dataset.loader import AHEAD, Loader, Sources
from core.dataset.manifest import Manifest
from core.dataset.masks import loss_factor
from core.dataset.pixels import Pixels, read_pixels
from core.dataset.settings import Buckets, Concept, ConceptImage, ConceptText
from core.dataset.survey import survey
from core.dataset.views import Shown
from core.errors import OchreError, PictureError

EPOCHS = 2


@pytest.fixture
def plan(concept: Concept, buckets: Buckets) -> Plan:
    concept.image = ConceptImage(flip="random", crop_jitter=True, mask="file", unmasked_probability=0.5)
    concept.text = ConceptText(shuffle_tags=True, caption_dropout=0.2)
    concept.loss_weight, concept.image_variations, concept.text_variations = 0.5, 2, 2
    for name, box in (("00", (0, 0, 64, 128)), ("05", (50, 50, 80, 80))):
        with Image.open(Path(concept.folder) / f"{name}.png") as picture:
            mask = Image.new("L", picture.size)
        mask.paste(255, box)
        mask.save(Path(concept.folder) / f"{name}-masklabel.png")
    return planned(concept, buckets, Batching(batch_size=2, accumulation=2))


def planned(concept: Concept, buckets: Buckets, batching: Batching) -> Plan:
    found = survey([concept], buckets)
    return Plan(Manifest(tuple(found.entries), found.lines), [concept], buckets, batching, seed=3)


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
    fill_latents(plan.images(EPOCHS), cache, images)
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
    assert (first.mask is None) == (second.mask is None)
    if first.mask is not None and second.mask is not None:
        assert torch.equal(first.mask, second.mask)
    assert first.controls.keys() == second.controls.keys()
    assert all(torch.equal(tensor, second.controls[name]) for name, tensor in first.controls.items())
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
        assert wide.framings[0].original == (130, 200)


def test_batches_in_another_order_are_the_same(plan: Plan, images: ImageEncoder, texts: list[TextEncoder]) -> None:
    places = [(epoch, step) for epoch in range(EPOCHS) for step in range(plan.steps_per_epoch(epoch))]
    with Loader(plan, Sources(images, texts, None, None)) as loader:
        forwards = {place: list(loader.step(*place)) for place in places}
        for place in reversed(places):
            for first, second in zip(forwards[place], loader.step(*place), strict=True):
                assert_equal(first, second)


def test_samples_that_do_not_count_weigh_nothing(plan: Plan, images: ImageEncoder, buckets: Buckets) -> None:
    few = Plan(Manifest(tuple(plan.entries[:1])), plan.concepts, buckets, Batching(2, processes=2))
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


def test_a_folder_that_vanishes_during_the_run_is_told_with_the_name_of_a_picture(
    plan: Plan, images: ImageEncoder
) -> None:
    with Loader(plan, Sources(images, [], None, None)) as loader:
        list(loader.step(0, 0))
        folder = Path(plan.concepts[0].folder)
        folder.rename(folder.with_name("elsewhere"))
        with pytest.raises(PictureError) as caught:
            for _ in all_batches(loader):
                pass
    assert str(folder) in str(caught.value) and ".png" in str(caught.value)


def test_masks_enter_the_batch_where_they_count(plan: Plan, images: ImageEncoder, cache: Cache) -> None:
    with Loader(plan, Sources(images, [], cache, None)) as loader:
        draws = [b for epoch in range(EPOCHS) for step in plan.epoch(epoch) for b in step.ranks[0]]
        seen = set()
        for batch, drawn in zip(all_batches(loader), draws, strict=True):
            counting = [draw.masked for draw in drawn]
            if not any(counting):
                assert batch.mask is None
                continue
            assert batch.mask is not None
            assert batch.mask.shape == (len(drawn), 1, *batch.latents.shape[-2:])
            for draw, mask in zip(drawn, batch.mask, strict=True):
                stored = cache.get("latents", images.key(plan.shown(draw)))
                assert stored is not None
                expected = loss_factor(stored["mask"], plan.shown(draw).image)
                assert torch.equal(mask, expected if draw.masked else torch.ones_like(mask))
                seen.add((draw.masked, bool((mask < 0.5).any())))
        assert seen == {(True, True), (True, False), (False, False)}


def test_an_inpainting_model_gets_its_controls(
    plan: Plan, images: ImageEncoder, texts: list[TextEncoder], tmp_path: Path
) -> None:
    encoder, kept = dataclasses.replace(images, inpainting=True), Cache(tmp_path / "inpainting")
    fill_latents(plan.images(EPOCHS), kept, encoder)
    with (
        Loader(plan, Sources(encoder, [], kept, None)) as cached,
        Loader(plan, Sources(encoder, [], None, None)) as live,
    ):
        for first, second in zip(all_batches(cached), all_batches(live), strict=True):
            assert_equal(first, second)
            assert first.controls["mask"].shape == (len(first.names), 1, *first.latents.shape[-2:])
            assert first.controls["masked_latents"].shape == first.latents.shape
            assert set(first.controls["mask"].unique().tolist()) <= {0.0, 1.0}


def test_some_batches_are_read_before_they_are_asked_for(plan: Plan, images: ImageEncoder, cache: Cache) -> None:
    places = [(e, s, b) for e in range(2) for s, x in enumerate(plan.epoch(e)) for b in range(len(x.ranks[0]))]
    assert len(places) > AHEAD + 2
    with Loader(plan, Sources(images, [], cache, None)) as loader:
        loader.batch(*places[0])
        waiting = list(loader._ahead)
        assert [tuple(place) for place, _ in waiting] == places[1 : AHEAD + 1]
        for _, read in waiting:
            read.result()
        before = loader.waited
        loader.batch(*places[1])
        assert 0 < loader.waited - before < 0.05
        assert len(loader._ahead) == AHEAD
        loader.batch(*places[-1])
        loader.batch(*places[3])
        assert loader._ahead[0][0] == places[4]


def test_the_seconds_waited_are_those_of_reading(
    plan: Plan, images: ImageEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(shown: Shown) -> Pixels:
        time.sleep(0.2)
        return read_pixels(shown)

    def slow_encoder(pixels: torch.Tensor) -> torch.Tensor:
        time.sleep(1)
        return images.encode(pixels)

    monkeypatch.setattr("core.dataset.loader.read_pixels", slowly)
    encoder = dataclasses.replace(images, encode=slow_encoder)
    with Loader(plan, Sources(encoder, [], None, None)) as loader:
        loader.batch(0, 0, 0)
        assert 0.3 < loader.waited < 0.9


def test_closing_leaves_no_thread(plan: Plan, images: ImageEncoder) -> None:
    before = set(threading.enumerate())
    loader = Loader(plan, Sources(images, [], None, None))
    next(iter(loader.step(0, 0)))
    assert set(threading.enumerate()) - before
    loader.close()
    assert set(threading.enumerate()) <= before
