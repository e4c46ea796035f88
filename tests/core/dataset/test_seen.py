"""What the model will see: the pixels of a showing, dimmed where its mask counts, with that showing's caption."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.dataset.batches import Batching, Plan
from core.dataset.manifest import Manifest
from core.dataset.seen import DIMMED, seen
from core.dataset.settings import Buckets, Concept, ConceptImage, ConceptText
from core.dataset.survey import survey
from core.errors import PictureError


def plan_of(buckets: Buckets, *concepts: Concept) -> Plan:
    found = survey(concepts, buckets)
    return Plan(Manifest(tuple(found.entries), found.lines), concepts, buckets, Batching(2), seed=7, keeps_images=False)


def test_a_picture_of_its_buckets_size_is_shown_as_it_is(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128))
    (one,) = seen(plan_of(buckets, Concept(folder=str(folder))), epoch=0)
    with Image.open(folder / "00.png") as own:
        assert np.array_equal(np.asarray(one.picture), np.asarray(own))
    assert not one.masked


def test_each_is_another_picture_and_comes_as_in_its_epoch(make_folder, buckets: Buckets) -> None:
    folder = make_folder(*[(160, 120)] * 12)
    image = ConceptImage(flip="random", crop_jitter=True)
    concept = Concept(folder=str(folder), repeats=3, image=image, text=ConceptText(shuffle_tags=True))
    plan = plan_of(buckets, concept)
    draws = {draw for step in plan.epoch(4) for rank in step.ranks for batch in rank for draw in batch}
    shown = seen(plan, epoch=4, count=5)
    assert len({one.draw.entry for one in shown}) == 5
    assert {one.draw for one in shown} <= draws
    assert all(one.picture.size == (one.shown.view.bucket.width, one.shown.view.bucket.height) for one in shown)
    assert [one.draw for one in seen(plan, epoch=4, count=5)] == [one.draw for one in shown]
    assert [one.draw for one in seen(plan, epoch=5, count=5)] != [one.draw for one in shown]


def masked_folder(folder: Path) -> Path:
    """A white picture whose left half counts."""
    folder.mkdir()
    Image.new("RGB", (128, 128), "white").save(folder / "a.png")
    mask = Image.new("L", (128, 128), 0)
    mask.paste(255, (0, 0, 64, 128))
    mask.save(folder / "a-masklabel.png")
    return folder


@pytest.mark.parametrize("unmasked", [0.0, 1.0])
def test_what_lies_outside_the_mask_is_dimmed_where_the_mask_counts(
    tmp_path: Path, buckets: Buckets, unmasked: float
) -> None:
    image = ConceptImage(mask="file", unmasked_probability=unmasked)
    concept = Concept(folder=str(masked_folder(tmp_path / "a")), image=image)
    (one,) = seen(plan_of(buckets, concept), epoch=0)
    pixels = np.asarray(one.picture)
    assert (pixels[:, :60] == 255).all()
    assert (pixels[:, 68:] == (255 if unmasked else round(255 * DIMMED))).all()
    assert one.masked is not bool(unmasked)


def test_a_picture_that_has_changed_is_named(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128))
    plan = plan_of(buckets, Concept(folder=str(folder)))
    Image.new("RGB", (128, 128)).save(folder / "00.png")
    with pytest.raises(PictureError, match=r"00\.png"):
        seen(plan, epoch=0)
