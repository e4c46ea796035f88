"""What a user's folders hold: everything that is wrong is named, and nothing is lost in silence."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from subprocess import run

import numpy as np
import pytest
from PIL import Image

from core.contracts import Size
from core.dataset.settings import Buckets, Concept, ConceptText
from core.dataset.survey import Survey, proposed_repeats, survey
from core.errors import PictureError


def one(folder: Path, buckets: Buckets, **more: object) -> Survey:
    return survey([Concept(folder=str(folder), **more)], buckets)  # type: ignore[arg-type]


def save(path: Path, width: int = 128, height: int = 128, seed: int = 99) -> Path:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path


def test_a_good_folder(concept: Concept, buckets: Buckets) -> None:
    calls: list[tuple[int, int]] = []
    found = survey([concept], buckets, lambda done, total: calls.append((done, total)))
    assert len(found.entries) == 12
    assert (found.left_out, found.converted, found.warnings) == ([], [], [])
    assert calls == [(done, 12) for done in range(1, 13)]
    first, wide = found.entries[0], found.entries[5]
    assert first.name == "pictures/00.png"
    assert (first.captions, first.concept) == (("cat, tag 0, sitting, outdoors",), 0)
    assert wide.size == Size(width=200, height=130)
    assert wide.buckets == (Size(width=160, height=96),)
    assert [entry.name for entry in found.entries] == sorted(entry.name for entry in found.entries)


def test_pictures_are_counted_in_each_of_their_buckets(concept: Concept, buckets: Buckets) -> None:
    buckets.resolution = "128, 192"
    found = survey([concept], buckets)
    counts = found.bucket_counts()
    assert sum(counts.values()) == 24
    assert counts[Size(128, 128)] == counts[Size(192, 192)] == 5
    assert found.entries[0].buckets == (Size(128, 128), Size(192, 192))


def test_a_concept_has_its_own_resolution(concept: Concept, buckets: Buckets) -> None:
    other = concept.model_copy(update={"resolution": "160x96"})
    found = survey([concept, other], buckets)
    assert found.entries[0].buckets == (Size(128, 128),)
    assert {entry.buckets for entry in found.entries if entry.concept == 1} == {(Size(width=160, height=96),)}


def test_equal_buckets_of_several_resolutions_are_one(make_folder, buckets: Buckets) -> None:
    folder = make_folder((100, 100), (300, 300))
    several = buckets.model_copy(update={"resolution": "128, 192", "no_upscale": True})
    small, large = one(folder, several).entries
    assert small.buckets == (Size(96, 96),)
    assert large.buckets == (Size(128, 128), Size(192, 192))


def test_a_picture_too_small_for_one_resolution_is_shown_at_the_others(make_folder, buckets: Buckets) -> None:
    folder = make_folder((100, 100), (200, 200))
    several = buckets.model_copy(update={"resolution": "96x96, 192x192", "no_upscale": True})
    found = one(folder, several)
    assert [entry.buckets for entry in found.entries] == [(Size(96, 96),), (Size(96, 96), Size(192, 192))]
    (warning,) = found.warnings
    assert "1 pictures are too small for some of the resolutions" in warning
    assert "00.png" in warning
    larger = one(folder, several.model_copy(update={"resolution": "192x192, 208x208"}))
    assert "It is 100x100, smaller than 192x192" in str(larger.left_out[0])


def test_missing_empty_and_wrong_folders_are_all_told_at_once(make_folder, tmp_path: Path, buckets: Buckets) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    good = make_folder((128, 128))
    folders = [good, tmp_path / "gone", tmp_path / "empty", tmp_path / "file"]
    with pytest.raises(PictureError) as error:
        survey([Concept(folder=str(folder)) for folder in folders], buckets)
    text = str(error.value)
    assert f"{tmp_path / 'gone'} doesn't exist" in text
    assert f"no picture in the folder {tmp_path / 'empty'}" in text
    assert f"{tmp_path / 'file'} is a file" in text
    assert str(good) not in text


def test_a_concept_that_is_switched_off_is_not_looked_at(concept: Concept, buckets: Buckets) -> None:
    off = Concept(folder="/nowhere/at/all", enabled=False)
    found = survey([off, concept], buckets)
    assert {entry.concept for entry in found.entries} == {1}


def test_pictures_in_subfolders_are_pointed_at(tmp_path: Path, buckets: Buckets) -> None:
    (tmp_path / "10_cat").mkdir()
    save(tmp_path / "10_cat" / "a.png")
    with pytest.raises(PictureError, match=r"subfolders.*10_cat"):
        one(tmp_path, buckets)


def test_pictures_that_cannot_be_used_are_left_out_each_with_its_reason(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128))
    half = save(folder / "half.jpg", 300, 300).read_bytes()
    (folder / "half.jpg").write_bytes(half[: len(half) // 2])
    (folder / "empty.webp").touch()
    (folder / "text.png").write_text("hello")
    (folder / "phone.HEIC").write_bytes(b"....ftypheic")
    save(folder / "dot.png", 1, 1)
    save(folder / "thin.png", 400, 15)
    found = one(folder, buckets)
    assert [entry.name for entry in found.entries] == ["pictures/00.png"]
    reasons = {Path(note.path).name: note.reason for note in found.left_out}
    assert reasons.keys() == {"half.jpg", "empty.webp", "text.png", "phone.HEIC", "dot.png", "thin.png"}
    assert "broken or cut off" in reasons["half.jpg"]
    assert "empty" in reasons["empty.webp"]
    assert "no picture" in reasons["text.png"]
    assert "PNG or JPEG" in reasons["phone.HEIC"]
    assert "1x1" in reasons["dot.png"]
    assert "400x15" in reasons["thin.png"]


def test_a_folder_in_which_no_picture_can_be_used_is_an_error(tmp_path: Path, buckets: Buckets) -> None:
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(PictureError, match=r"No picture in the folder .* can be used: a\.png"):
        one(tmp_path, buckets)


def test_what_was_converted_is_told(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128))
    Image.new("CMYK", (128, 128)).save(folder / "print.jpg")
    Image.new("RGBA", (128, 128)).save(folder / "clear.png")
    Image.new("I;16", (128, 128), 40_000).save(folder / "deep.png")
    frames = [Image.new("RGB", (128, 128), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    found = one(folder, buckets)
    told = {Path(note.path).name: note.reason for note in found.converted}
    assert told.keys() == {"print.jpg", "clear.png", "deep.png", "moving.gif"}
    assert "CMYK" in told["print.jpg"]
    assert "white" in told["clear.png"]
    assert "16 bits" in told["deep.png"]
    assert "first frame" in told["moving.gif"]
    assert len(found.entries) == 5


def test_two_pictures_with_one_stem_are_an_error_that_names_all(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128), (128, 128))
    shutil.copy(folder / "00.png", folder / "00.webp")
    save(folder / "01.jpg")
    with pytest.raises(PictureError, match=r"00\.png and 00\.webp, 01\.jpg and 01\.png"):
        one(folder, buckets)


def test_captions_that_are_not_utf8_are_an_error_that_names_all(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128), (128, 128))
    for name in ("00.txt", "01.txt"):
        (folder / name).write_bytes("Käse".encode("latin-1"))
    with pytest.raises(PictureError) as error:
        one(folder, buckets)
    assert str(folder / "00.txt") in str(error.value)
    assert str(folder / "01.txt") in str(error.value)


def test_pictures_without_caption_are_counted_and_named(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128), (128, 128), (128, 128))
    (folder / "00.txt").unlink()
    (folder / "01.txt").write_text("")
    found = one(folder, buckets, trigger_word="sks")
    assert [entry.captions for entry in found.entries[:2]] == [(), ("",)]
    (warning,) = found.warnings
    assert "2 of 3" in warning
    assert "'sks' alone" in warning
    assert "00.png, 01.png" in warning


def test_other_caption_endings(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128))
    (folder / "00.caption").write_text("from the other file")
    found = one(folder, buckets, text=ConceptText(caption_extension=".caption"))
    assert found.entries[0].captions == ("from the other file",)


def test_what_is_passed_over_is_counted(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128))
    (folder / "notes.md").touch()
    (folder / "orphan.txt").touch()
    (folder / "more").mkdir()
    (folder / "__MACOSX").mkdir()
    (folder / "._00.png").touch()
    (folder / ".DS_Store").touch()
    text = "\n".join(one(folder, buckets).warnings)
    assert "notes.md" in text
    assert "orphan.txt" in text
    assert "more" in text
    assert "MACOSX" not in text
    assert "DS_Store" not in text
    assert "._00" not in text


def test_copies_enlargements_and_heavy_crops_are_warned_of(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128), (40, 40), (1000, 100))
    shutil.copy(folder / "00.png", folder / "copy.png")
    (folder / "copy.txt").write_text("cat")
    text = "\n".join(one(folder, buckets).warnings)
    assert "pictures/00.png = pictures/copy.png" in text
    assert "enlarged to more than twice their size: pictures/01.png" in text
    assert "crop: pictures/02.png" in text


def test_a_picture_that_changes_is_read_again(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128))
    before = one(folder, buckets).entries[0]
    save(folder / "00.png", 200, 130)
    after = one(folder, buckets).entries[0]
    assert before.sha256 != after.sha256
    assert after.size == Size(width=200, height=130)


def test_repeats_are_proposed_from_a_name_and_not_taken(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128), name="10_cat")
    assert proposed_repeats(folder) == 10
    assert proposed_repeats("cat") is proposed_repeats("10cat") is proposed_repeats("0_cat") is None
    assert one(folder, buckets).bucket_counts() == {Size(128, 128): 1}


def test_a_form_opens_without_torch_numpy_and_pillow() -> None:
    modules = ["survey", "buckets", "captions", "batches", "settings", "manifest", "draws", "pictures"]
    code = f"""
import sys
for name in {modules}:
    __import__("core.dataset." + name)
heavy = {{"torch", "numpy", "PIL"}} & set(sys.modules)
sys.exit(f"imported: {{heavy}}" if heavy else 0)
"""
    done = run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr
