"""What a user's folders hold: everything that is wrong is named, and nothing is lost in silence."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from subprocess import run

import numpy as np
import pytest
from PIL import Image

from core.contracts import Size
from core.dataset import looks
from core.dataset.manifest import sha256_of
from core.dataset.settings import Buckets, Concept, ConceptImage, ConceptText, DetailCrops
from core.dataset.survey import Survey, proposed_repeats, survey
from core.errors import PictureError
from tests.core.dataset.many_pictures import kept_bytes, make_pictures


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
    assert "1 picture too small for some of the resolutions" in warning
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
    with pytest.raises(PictureError, match=r"subfolders \(10_cat\): switch 'Subfolders too' on"):
        one(tmp_path, buckets)


def test_subfolders_are_taken_after_the_folders_own_pictures(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128))
    for place in ("b/deep", "a"):
        (folder / place).mkdir(parents=True)
        save(folder / place / "z.png", seed=len(place)).with_suffix(".txt").write_text(place)
    found = one(folder, buckets, subfolders=True)
    assert [entry.name for entry in found.entries] == ["pictures/00.png", "pictures/a/z.png", "pictures/b/deep/z.png"]
    assert [entry.captions for entry in found.entries[1:]] == [("a",), ("b/deep",)]
    assert found.warnings == []


def test_links_that_loop_are_followed_once(make_folder, buckets: Buckets, tmp_path: Path) -> None:
    folder = make_folder((128, 128))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    save(elsewhere / "far.png")
    (folder / "real").mkdir()
    save(folder / "real" / "near.png", seed=1)
    (folder / "real" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "a link").symlink_to(folder / "real", target_is_directory=True)
    (folder / "out").symlink_to(elsewhere, target_is_directory=True)
    (folder / "itself.png").symlink_to(folder / "itself.png")
    (elsewhere / "back").symlink_to(elsewhere, target_is_directory=True)
    found = one(folder, buckets, subfolders=True)
    names = [entry.name.removeprefix("pictures/") for entry in found.entries]
    assert names == ["00.png", "real/near.png", "out/far.png"]
    (warning,) = [warning for warning in found.warnings if "links to" in warning]
    assert all(name in warning for name in ("3 links", "a link", "real/up", "out/back"))
    assert [Path(note.path).name for note in found.left_out] == ["itself.png"]


def test_hidden_files_are_counted_and_nothing_more(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128))
    (folder / ".ipynb_checkpoints").mkdir()
    save(folder / ".ipynb_checkpoints" / "00-checkpoint.png")
    (folder / ".DS_Store").touch()
    found = one(folder, buckets, subfolders=True)
    assert len(found.entries) == 1
    assert found.warnings == []
    assert found.passed[0].hidden == [".DS_Store", ".ipynb_checkpoints"]


def test_names_with_emoji_spaces_and_two_hundred_letters(tmp_path: Path, buckets: Buckets) -> None:
    names = ["😀 cat.png", "a  b .png", "ü" * 100 + ".png", "x" * 200 + ".png", "one.two.png"]
    for seed, name in enumerate(names):
        save(tmp_path / name, seed=seed).with_suffix(".txt").write_text(f"caption {seed}")
    found = one(tmp_path, buckets)
    captions = {Path(entry.path).name: entry.captions for entry in found.entries}
    assert captions == {name: (f"caption {seed}",) for seed, name in enumerate(names)}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_left_out(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128))
    with open(os.fsencode(folder) + b"/k\xe4se.png", "wb") as file:  # noqa: PTH123 - a Path can't hold it as bytes
        file.write((folder / "00.png").read_bytes())
    found = one(folder, buckets)
    assert len(found.entries) == 1
    (note,) = found.left_out
    assert "not UTF-8" in note.reason
    str(note).encode()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_what_is_no_file_is_not_waited_for(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128))
    os.mkfifo(folder / "pipe.png")
    assert one(folder, buckets).left_out[0].reason == "It is no file."


def test_a_folder_that_vanishes_meanwhile(make_folder, buckets: Buckets) -> None:
    staying, going = make_folder((128, 128), name="a"), make_folder(*[(64, 64)] * 700, name="b")

    def vanish(done: int, total: int) -> None:
        if done == 1:
            shutil.rmtree(going)

    with pytest.raises(PictureError, match=r"The folder .*b can't be read\. No such file"):
        survey([Concept(folder=str(staying)), Concept(folder=str(going))], buckets, vanish)


def test_a_relative_folder(make_folder, buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder((128, 128))
    save(folder / "00-masklabel.png")
    (folder / "orphan.txt").touch()
    monkeypatch.chdir(folder)
    found = one(Path(), buckets, image=ConceptImage(mask="file"))
    assert found.entries[0].mask
    assert found.passed[0].orphans == ["orphan.txt"]


def test_masks_are_paired_and_never_taken_for_pictures(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128), (100, 140))
    save(folder / "00-masklabel.png")
    save(folder / "00-condlabel.png", seed=3)
    save(folder / "gone-masklabel.png")
    save(folder / "01-masklabel.jpg")
    off = one(folder, buckets)
    assert [entry.name for entry in off.entries] == ["pictures/00.png", "pictures/01.png"]
    assert {entry.mask + entry.conditioning for entry in off.entries} == {""}
    assert any("1 mask not used" in warning for warning in off.warnings)
    found = one(folder, buckets, image=ConceptImage(mask="file", conditioning=True))
    first, second = found.entries
    assert first.mask == sha256_of((folder / "00-masklabel.png").read_bytes())
    assert first.conditioning == sha256_of((folder / "00-condlabel.png").read_bytes())
    assert second.mask == second.conditioning == ""
    text = "\n".join(found.warnings)
    assert "1 of 2 pictures without mask: 01.png" in text
    assert "1 of 2 pictures without conditioning picture: 01.png" in text
    assert "2 mask or conditioning files without picture: 01-masklabel.jpg, gone-masklabel.png" in text


def test_a_mask_of_another_size_or_a_broken_one_leaves_its_picture_out(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128), (128, 128), (128, 128))
    save(folder / "00-masklabel.png", 64, 64)
    (folder / "01-masklabel.png").write_text("hello")
    found = one(folder, buckets, image=ConceptImage(mask="file"))
    assert [entry.name for entry in found.entries] == ["pictures/02.png"]
    first, second = found.left_out
    assert "00.png has 128x128 pixels, but 00-masklabel.png has 64x64" in first.reason
    assert "Its 01-masklabel.png can't be used: is no picture" in second.reason


def test_captions_from_a_prompt_file(make_folder, buckets: Buckets, tmp_path: Path) -> None:
    folder = make_folder((128, 128), (128, 128))
    lines = tmp_path / "prompts.txt"
    lines.write_text("a cat\n\na dog\n")
    found = one(folder, buckets, text=ConceptText(prompt_source="prompt_file", prompt_path=str(lines)))
    assert found.lines == {0: ("a cat", "a dog")}
    assert {entry.captions for entry in found.entries} == {()}
    (warning,) = found.warnings
    assert "2 caption files not read" in warning
    lines.unlink()
    with pytest.raises(PictureError, match=r"prompts\.txt"):
        one(folder, buckets, text=ConceptText(prompt_source="prompt_file", prompt_path=str(lines)))


def test_a_caption_file_of_a_megabyte_is_an_error(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128))
    (folder / "00.txt").write_text("cat " * 2**18)
    with pytest.raises(PictureError, match=r"00\.txt is too large"):
        one(folder, buckets)


def test_large_pictures_are_cut_into_tiles(make_folder, buckets: Buckets) -> None:
    folder = make_folder((256, 128), (100, 100))
    Image.new("RGB", (256, 256), "white").save(folder / "blank.png")
    crops = DetailCrops(enabled=True, tile_resolution=128, overlap=0)

    def kinds(crops: DetailCrops) -> dict[str, list[tuple[str, Size]]]:
        entries = one(folder, buckets, image=ConceptImage(detail_crops=crops)).entries
        names = {entry.name.removeprefix("pictures/") for entry in entries}
        return {
            name: [(str(e.tile or "whole"), e.buckets[0]) for e in entries if e.name.endswith(name)] for name in names
        }

    square, wide = Size(128, 128), ("whole", Size(width=160, height=96))
    tiles = [("tile 0,0 of 256x128", square), ("tile 128,0 of 256x128", square)]
    found = kinds(crops)
    assert found["00.png"] == [wide, *tiles]
    assert found["01.png"] == found["blank.png"] == [("whole", square)]
    only = kinds(crops.model_copy(update={"include_full_images": False}))
    assert only["00.png"] == tiles
    assert only["01.png"] == only["blank.png"] == [("whole", square)]
    context = kinds(crops.model_copy(update={"include_full_images": False, "include_context_tiles": True}))
    assert context["00.png"] == [*tiles, wide]


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
    assert "1 picture enlarged to more than twice the size: pictures/01.png" in text
    assert "1 picture cropped by more than a third of the area: pictures/02.png" in text


def test_a_picture_that_changes_is_read_again(make_folder, buckets: Buckets) -> None:
    folder = make_folder((128, 128))
    before = one(folder, buckets).entries[0]
    save(folder / "00.png", 200, 130)
    after = one(folder, buckets).entries[0]
    assert before.sha256 != after.sha256
    assert after.size == Size(width=200, height=130)


def test_what_was_looked_at_longest_ago_is_forgotten_first(
    make_folder, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    read = looks.decode

    def noted(data: bytes, path: str, background: str) -> object:
        decoded.append(path)
        return read(data, path, background)

    monkeypatch.setattr(looks, "decode", noted)
    monkeypatch.setattr(looks, "_KEPT", 3)
    first, second = make_folder((64, 64), (64, 64), name="a"), make_folder((64, 64), (64, 64), name="b")
    (second / "00.png").rename(second / "02.png")
    looks.forget()
    for folder in (first, second, second, first):
        one(folder, buckets)
    assert sorted(decoded[:4]) == ["00.png", "01.png", "01.png", "02.png"]
    assert 1 <= len(decoded[4:]) <= 2
    assert set(decoded[4:]) <= {"00.png", "01.png"}


@pytest.mark.slow
def test_a_picture_takes_less_than_two_kilobytes(tmp_path: Path) -> None:
    make_pictures(tmp_path / "many", 3000, sides=(16, 32))
    assert 300 < kept_bytes(tmp_path / "many") < 2000


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
