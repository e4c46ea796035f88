"""The report says what became of every picture, and its numbers are those of the files."""

from __future__ import annotations

import json
import shutil
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.dataset.batches import Batching, Plan
from core.dataset.manifest import Manifest
from core.dataset.report import DatasetReport, Run
from core.dataset.reporting import make_report
from core.dataset.settings import Buckets, Concept, ConceptImage, ConceptText, DetailCrops
from core.dataset.survey import Survey, look_through


def words(caption: str) -> int:
    """A tokenizer whose counts are plain to see."""
    return len(caption.replace(",", " ,").split())


def report_on(*concepts: Concept, buckets: Buckets, run: Run | None = None) -> DatasetReport:
    return make_report(look_through(concepts, buckets), buckets, run or Run())


def plan_of(found: Survey, buckets: Buckets, batch_size: int) -> Plan:
    manifest = Manifest(tuple(found.entries), found.lines)
    return Plan(manifest, found.concepts, buckets, Batching(batch_size))


def test_every_picture_is_there_with_what_became_of_it(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128), (90, 150), (256, 128))
    (folder / "broken.png").write_text("no picture")
    (folder / "old.psd").touch()
    report = report_on(Concept(folder=str(folder), trigger_word="sks"), buckets=buckets)
    fates = {fate.name.removeprefix("pictures/"): fate for fate in report.pictures}
    assert {name for name, fate in fates.items() if not fate.used} == {"broken.png", "old.psd"}
    assert fates.keys() == {"00.png", "01.png", "02.png", "broken.png", "old.psd"}
    assert "no picture" in fates["broken.png"].why
    assert "PNG or JPEG" in fates["old.psd"].why
    tall = fates["01.png"]
    assert (tall.width, tall.height, tall.bytes) == (90, 150, (folder / "01.png").stat().st_size)
    assert (tall.buckets, tall.factors) == (("96x160",), (round(160 / 150, 4),))
    assert tall.caption == "sks, cat, tag 1, sitting, outdoors"
    assert not report.all_used
    assert [fate.name for fate in report.left_out] == ["pictures/broken.png", "pictures/old.psd"]


def test_the_numbers_of_a_concept(make_folder, buckets: Buckets) -> None:
    sizes = [(128, 128), (200, 130), (90, 150), (60, 60)]
    folder = make_folder(*sizes)
    (folder / "02.txt").write_text("")
    (folder / "03.txt").unlink()
    facts = report_on(Concept(name="cats", folder=str(folder)), buckets=buckets).concepts[0]
    assert (facts.name, facts.pictures, facts.used) == ("cats", 4, 4)
    assert facts.pixels == sum(width * height for width, height in sizes)
    assert facts.bytes == sum(path.stat().st_size for path in folder.glob("*.png"))
    assert facts.sizes.smallest == ("60x60", "pictures/03.png")
    assert facts.sizes.largest == ("200x130", "pictures/01.png")
    assert facts.sizes.mean_width == statistics.mean(width for width, _ in sizes)
    assert facts.sizes.mean_height == statistics.mean(height for _, height in sizes)
    assert (facts.captions.with_text, facts.captions.empty, facts.captions.missing) == (
        2,
        ["pictures/02.png"],
        ["pictures/03.png"],
    )
    assert facts.captions.tags == {"cat": 2, "outdoors": 2, "sitting": 2, "tag 0": 1, "tag 1": 1}
    assert facts.smaller == ["pictures/02.png", "pictures/03.png"]


def test_lengths_are_those_of_captions_as_they_are_shown(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128), (128, 128), (128, 128))
    (folder / "00.txt").write_text("cat")
    (folder / "01.txt").write_text("one two three four five six, seven")
    concept = Concept(
        folder=str(folder),
        trigger_word="sks",
        text=ConceptText(shuffle_tags=True, tag_dropout="full", tag_dropout_probability=1, caption_dropout=1),
    )
    report = report_on(concept, buckets=buckets, run=Run(token_limit=9, count_tokens=words))
    captions = report.concepts[0].captions
    assert [fate.tokens for fate in report.pictures] == [3, 10, 10]  # the comma counts
    assert (captions.shortest, captions.longest, captions.mean) == (3, 10, 23 / 3)
    assert captions.cut == ["pictures/01.png", "pictures/02.png"]
    assert captions.tags == {"cat": 2, "outdoors": 1, "sitting": 1, "tag 2": 1}
    without = report_on(concept, buckets=buckets)
    assert {fate.tokens for fate in without.pictures} == {without.concepts[0].captions.longest} == {None}


def test_several_captions_and_a_prompt_file(make_folder, buckets: Buckets, tmp_path: Path) -> None:
    folder = make_folder((128, 128), (128, 128))
    (folder / "00.txt").write_text("a cat\na very much longer caption\n")
    several = Concept(folder=str(folder), text=ConceptText(caption_lines="in_turn"))
    (tmp_path / "lines.txt").write_text("one\ntwo words\nand three words")
    prompts = Concept(
        folder=str(folder), text=ConceptText(prompt_source="prompt_file", prompt_path=str(tmp_path / "lines.txt"))
    )
    report = report_on(several, prompts, buckets=buckets, run=Run(token_limit=2, count_tokens=words))
    assert report.concepts[0].captions.several == 1
    assert report.pictures[0].tokens == 5
    lines = report.concepts[1].captions
    assert (lines.lines, lines.shortest, lines.longest, lines.cut) == (3, 1, 3, ["line 3"])
    assert lines.missing == lines.empty == []
    assert report.pictures[2].caption == "(one of 3 lines)"


def test_equal_and_similar_pictures_are_named_once(tmp_path: Path, buckets: Buckets) -> None:
    small = np.random.default_rng(0).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize((300, 200), Image.Resampling.BICUBIC)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    picture.save(tmp_path / "a" / "one.png")
    shutil.copy(tmp_path / "a" / "one.png", tmp_path / "b" / "same.png")
    picture.resize((180, 120)).save(tmp_path / "b" / "smaller.jpg", quality=70)
    picture.rotate(90).save(tmp_path / "b" / "turned.png")
    one, two = Concept(folder=str(tmp_path / "a")), Concept(folder=str(tmp_path / "b"))
    report = report_on(one, two, one, buckets=buckets)
    assert report.copies == [["a/one.png", "b/same.png"]]
    assert report.alike == [["a/one.png", "b/smaller.jpg"]]
    assert not any("more than once" in warning for warning in report.warnings)


def test_buckets_with_their_resolutions(make_folder, buckets: Buckets) -> None:
    buckets.resolution = "128, 192"
    folder = make_folder((128, 128), (128, 128), (256, 128))
    crops = DetailCrops(enabled=True, tile_resolution=64, overlap=0, blank_std_threshold=0)
    concept = Concept(folder=str(folder), repeats=3, image=ConceptImage(detail_crops=crops))
    found = look_through([concept], buckets)
    report = make_report(found, buckets, Run(plan_of(found, buckets, 2)))
    facts = {bucket.size: bucket for bucket in report.buckets}
    assert facts.keys() == {"64x64", "128x128", "160x96", "192x192", "256x128"}
    assert {size: bucket.resolution for size, bucket in facts.items()} == {
        "64x64": 64,
        "128x128": 128,
        "160x96": 128,
        "192x192": 192,
        "256x128": 192,
    }
    assert (facts["64x64"].pictures, facts["64x64"].tiles, facts["64x64"].shown) == (0, 16, 48)
    assert (facts["128x128"].pictures, facts["128x128"].tiles) == (2, 0)
    assert sum(bucket.shown or 0 for bucket in report.buckets) == 57
    assert [(fate.tiles, fate.blank) for fate in report.pictures] == [(4, 0), (4, 0), (8, 0)]


def test_tiles_alone_blank_ones_and_why_a_picture_stays_whole(make_folder, buckets: Buckets) -> None:
    folder = make_folder((384, 128), (100, 100))
    with Image.open(folder / "00.png") as opened:
        half = opened.convert("RGB")
    half.paste("white", (0, 0, 192, 128))
    half.save(folder / "00.png")
    crops = DetailCrops(enabled=True, tile_resolution=128, overlap=0, include_full_images=False)
    report = report_on(Concept(folder=str(folder), image=ConceptImage(detail_crops=crops)), buckets=buckets)
    first, second = report.pictures
    assert (first.tiles, first.blank, first.buckets) == (2, 1, ())
    assert (second.tiles, second.blank, second.buckets) == (0, 0, ("128x128",))
    assert "smaller than a tile" in second.why
    assert "only as tiles; 2 tiles, 1 blank" in report.to_text()


def test_masks_from_files_and_from_transparency(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128), (128, 128))
    Image.new("L", (128, 128)).save(folder / "00-masklabel.png")
    Image.new("RGBA", (128, 128)).save(folder / "01.png")
    by_file = report_on(Concept(folder=str(folder), image=ConceptImage(mask="file")), buckets=buckets)
    by_alpha = report_on(Concept(folder=str(folder), image=ConceptImage(mask="alpha")), buckets=buckets)
    assert [fate.mask for fate in by_file.pictures] == ["file", ""]
    assert [fate.mask for fate in by_alpha.pictures] == ["", "alpha"]
    assert by_file.concepts[0].masks == by_alpha.concepts[0].masks == 1
    assert "laid on white" in by_file.pictures[1].why


def test_changes_of_which_only_one_version_is_kept_are_pointed_out(make_folder, buckets: Buckets) -> None:
    folder = str(make_folder((128, 128)))

    def advice(concept: Concept, run: Run) -> str:
        return "\n".join(report_on(concept, buckets=buckets, run=run).concepts[0].advice)

    changing = Concept(folder=folder, image=ConceptImage(flip="random"), text=ConceptText(shuffle_tags=True))
    told = advice(changing, Run())
    assert "(image_variations) to 4 or so, or don't cache pictures (latent_caching = false)" in told
    assert "(text_variations) to 4 or so, or don't cache captions (text_caching = false)" in told
    assert advice(changing, Run(keeps_images=False, keeps_text=False)) == ""
    several = changing.model_copy(update={"image_variations": 4, "text_variations": 2})
    assert advice(several, Run()) == ""
    still = Concept(folder=folder, image=ConceptImage(flip="fixed"), image_variations=3)
    assert "image_variations is 3, but nothing changes a picture" in advice(still, Run())


def test_what_fills_no_batch_is_told(make_folder, buckets: Buckets) -> None:
    found = look_through([Concept(folder=str(make_folder(*[(128, 128)] * 5)))], buckets)
    plan = plan_of(found, buckets, 4)
    report = make_report(found, buckets, Run(plan))
    assert report.remainder == plan.remainder_notes() != []
    assert report.remainder[0] in report.to_text()


def test_the_report_tells_all_even_where_a_run_is_stopped(make_folder, buckets: Buckets, tmp_path: Path) -> None:
    folder = make_folder((128, 128))
    (folder / "00.txt").write_bytes(b"\xff\xfe")
    concepts = Concept(folder=str(folder)), Concept(folder=str(tmp_path / "gone"))
    report = report_on(*concepts, buckets=buckets)
    assert len(report.problems) == 2
    assert [fate.used for fate in report.pictures] == [True]
    text = report.to_text()
    assert "This stops a run" in text
    assert str(tmp_path / "gone") in text


def test_the_json_is_the_whole_report(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128), (90, 150))
    (folder / "😀.png").write_text("no picture")
    report = report_on(Concept(folder=str(folder)), buckets=buckets, run=Run(count_tokens=words))
    data = json.loads(report.to_json())
    assert data.keys() == DatasetReport.__dataclass_fields__.keys()
    assert [picture["name"] for picture in data["pictures"]] == [fate.name for fate in report.pictures]
    assert data["pictures"][1]["factors"] == [report.pictures[1].factors[0]]
    assert data["concepts"][0]["captions"]["tags"]["cat"] == 2


@pytest.mark.parametrize("most", [0, 2, 3])
def test_the_text_lists_some_of_the_used_and_all_of_the_others(most: int, make_folder, buckets: Buckets) -> None:
    folder = make_folder(*[(128, 128)] * 3)
    for number in range(4):
        (folder / f"broken {number}.png").write_text("no picture")
    report = report_on(Concept(folder=str(folder)), buckets=buckets)
    text = report.to_text(most)
    assert text.count("128x128 -> 128x128") == most
    assert text.count("is no picture, or a broken one") == 4
    assert (f"and {3 - most} more" in text) == (most < 3)
    assert "█" * 40 + " 3" in text


def test_bars_are_as_long_as_their_numbers(make_folder, buckets: Buckets) -> None:
    report = report_on(Concept(folder=str(make_folder((128, 128)))), buckets=buckets)
    (bucket,) = report.buckets
    other = replace(bucket, size="160x96", pictures=3)
    lines = replace(report, buckets=[bucket, replace(other, pictures=4)]).to_text().splitlines()
    assert [line.count("█") for line in lines if "█" in line] == [10, 40]
