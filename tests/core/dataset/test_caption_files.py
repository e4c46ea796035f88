"""Where captions come from: files beside the pictures, their names, a prompt file, a metadata file."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dataset.caption_files import CaptionsFound, caption_in_name, read_captions, read_prompt_lines
from core.dataset.settings import Concept, ConceptText
from core.errors import PictureError


def concept_in(folder: Path, **text: Any) -> Concept:
    return Concept(folder=str(folder), subfolders=True, text=ConceptText(**text))


def captions_in(folder: Path, files: dict[str, bytes | str | None], **text: Any) -> CaptionsFound[str]:
    """What is found where these files lie; None and bytes that end in .png are pictures (empty: nobody opens them)."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data or b"")
    pictures = [str(folder / name) for name, data in files.items() if data is None]
    found = read_captions(concept_in(folder, **text), pictures)
    found.captions = {str(Path(path).relative_to(folder)): lines for path, lines in found.captions.items()}
    return found


# -- caption files


def test_a_file_beside_each_picture(tmp_path: Path) -> None:
    files = {"a.png": None, "a.txt": "Käse, 猫\n", "b.jpg": None, "b.txt": "", "c.png": None, "in/a.png": None}
    found = captions_in(
        tmp_path, {**files, "in/a.txt": "\ufeffone,\r\n\r\n  two \r\n", "v1.5.png": None, "v1.5.txt": "x"}
    )
    assert found.captions == {"a.png": ("Käse, 猫",), "b.jpg": ("",), "in/a.png": ("one, two",), "v1.5.png": ("x",)}
    assert not found.problems and not found.warnings and not found.orphans


def test_paths_as_they_are_given_are_the_keys(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "a.txt").write_text("cat")
    assert read_captions(concept_in(tmp_path), [tmp_path / "a.png"]).captions == {tmp_path / "a.png": ("cat",)}


@pytest.mark.parametrize(
    ("lines", "captions"),
    [("join", ("a, b c",)), ("first", ("a, b",)), ("in_turn", ("a, b", "c")), ("random", ("a, b", "c"))],
)
def test_what_the_lines_are(lines: Any, captions: tuple[str, ...], tmp_path: Path) -> None:
    files = {"x.png": None, "x.txt": "\n a, b \n\nc\n", "empty.png": None, "empty.txt": " \n\n"}
    found = captions_in(tmp_path, files, caption_lines=lines)
    assert found.captions == {"x.png": captions, "empty.png": ("",)}


def test_another_ending_and_one_in_capitals(tmp_path: Path) -> None:
    files = {"a.png": None, "a.CAPTION": "cat", "b.png": None, "b.caption": "dog", "b.Caption": "old", "b.txt": "no"}
    found = captions_in(tmp_path, files, caption_extension=".caption")
    assert found.captions == {"a.png": ("cat",), "b.png": ("dog",)}
    assert [path.name for path in found.orphans] == ["b.Caption"]
    assert not found.warnings


def test_captions_with_another_ending_are_pointed_out(tmp_path: Path) -> None:
    found = captions_in(tmp_path, {"a.png": None, "a.caption": "cat", "b.png": None, "b.caption": "dog"})
    assert not found.captions
    assert len(found.warnings) == 1
    assert "pictures without a .txt file, but with one that ends in .caption: 2." in found.warnings[0]


def test_captions_without_picture(tmp_path: Path) -> None:
    found = captions_in(
        tmp_path, {"a.png": None, "a.txt": "cat", "gone.txt": "dog", ".hidden.txt": "x", "in/b.png": None}
    )
    assert found.orphans == [tmp_path / "gone.txt"]


def test_each_unreadable_file_is_named(tmp_path: Path) -> None:
    files = {f"{name}.png": None for name in ("latin", "wide", "large", "good", "folder")}
    (tmp_path / "folder.txt").mkdir(parents=True)
    texts = {"latin.txt": b"K\xe4se", "wide.txt": "cat".encode("utf-16"), "large.txt": b"a" * 2**20, "good.txt": b"cat"}
    found = captions_in(tmp_path, {**files, **texts})
    assert found.captions == {"good.png": ("cat",)}
    assert [problem.split(" is ")[0] for problem in found.problems] == [
        str(tmp_path / f"{name}.txt") for name in ("latin", "wide", "large", "folder")
    ]
    assert "UTF-8" in found.problems[0] and "UTF-8" in found.problems[1]
    assert "1 MiB" in found.problems[2] and "64 KiB" in found.problems[2]


def test_a_folder_that_vanishes_is_a_problem(tmp_path: Path) -> None:
    found = read_captions(concept_in(tmp_path), [str(tmp_path / "gone" / "a.png")])
    assert len(found.problems) == 1 and str(tmp_path / "gone") in found.problems[0]


@pytest.mark.parametrize("stem", ["😀 cat 🐈", "a b  c", "x" * 200, "猫" * 80, "v.1.0", "[a](b)*?", "-a"])
def test_names_of_any_kind(stem: str, tmp_path: Path) -> None:
    found = captions_in(tmp_path, {f"{stem}.png": None, f"{stem}.txt": "cat"})
    assert found.captions == {f"{stem}.png": ("cat",)} and not found.problems


def test_a_name_too_long_for_its_caption_file_has_none(tmp_path: Path) -> None:
    """255 bytes is the longest name on most systems."""
    found = captions_in(tmp_path, {"x" * 251 + ".png": None}, caption_extension=".caption")
    assert not found.captions and not found.problems


# -- file names


@pytest.mark.parametrize(
    ("name", "caption"),
    [
        ("a_red_fox", "a red fox"),
        ("10_cat", "cat"),
        ("001_cat", "cat"),
        ("001 cat", "cat"),
        ("cat_001", "cat"),
        ("cat_7", "cat"),
        ("cat (3)", "cat"),
        ("cat(3)", "cat"),
        ("cat_001 (2)", "cat"),
        ("cat-007", "cat"),
        ("cat 01", "cat"),
        ("10_red_fox_in_snow_0042", "red fox in snow"),
        ("1girl, solo, hat", "1girl, solo, hat"),
        ("2 cats", "2 cats"),
        ("highway 66", "highway 66"),
        ("F-16", "F-16"),
        ("3-wheeled car", "3-wheeled car"),
        ("1990s_street", "1990s street"),
        ("  two__spaces ", "two spaces"),
        ("😀 cat 🐈", "😀 cat 🐈"),
        ("0001", ""),
        ("10_001", ""),
        ("10_", ""),
        ("_", ""),
        ("(3)", ""),
        ("x" * 200, "x" * 200),
    ],
)
def test_the_caption_in_a_name(name: str, caption: str) -> None:
    assert caption_in_name(name) == caption


@given(st.text(min_size=1, max_size=40))
def test_the_caption_in_any_name(name: str) -> None:
    caption = caption_in_name(name)
    assert "_" not in caption and caption == " ".join(caption.split())
    letters = [letter for letter in name if not letter.isspace() and letter not in "_"]
    rest = iter(letters)
    assert all(letter in rest for letter in caption if letter != " ")  # nothing new, in the same order
    assert sum(letter.isalpha() for letter in caption) == sum(letter.isalpha() for letter in letters)


def test_names_as_captions(tmp_path: Path) -> None:
    found = captions_in(
        tmp_path, {"10_red_fox_01.png": None, "0001.png": None, "x.png": None}, prompt_source="file_name"
    )
    assert found.captions == {"10_red_fox_01.png": ("red fox",), "x.png": ("x",)}
    assert not found.problems


def test_a_name_that_is_no_utf8_is_a_problem(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/k\xe4se.png")
    found = read_captions(concept_in(tmp_path, prompt_source="file_name"), [path])
    assert not found.captions
    assert found.problems == [
        f"{tmp_path}/k�se.png: its name is no caption, as it is not UTF-8 text. Give it another name."
    ]


# -- a prompt file


def prompts(path: Path, data: bytes) -> tuple[str, ...]:
    path.write_bytes(data)
    return read_prompt_lines(Concept(text=ConceptText(prompt_source="prompt_file", prompt_path=str(path))))


def test_the_lines_of_a_prompt_file(tmp_path: Path) -> None:
    data = "\ufeffa cat\r\n\r\n  ein Käse \nlast".encode()
    assert prompts(tmp_path / "p.txt", data) == ("a cat", "ein Käse", "last")
    assert read_prompt_lines(Concept()) == ()


def test_pictures_have_no_captions_beside_a_prompt_file(tmp_path: Path) -> None:
    found = captions_in(tmp_path, {"a.png": None, "a.txt": "cat"}, prompt_source="prompt_file", prompt_path="p.txt")
    assert not found.captions and not found.problems


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", r"prompt file .*p\.txt is empty.*Write one caption into each line"),
        (b"\n \r\n", r"p\.txt is empty"),
        ("Käse".encode("latin-1"), r"p\.txt is not UTF-8"),
        (b"a cat\n" + b"x" * 70_000, r"Caption 2 in the prompt file .*p\.txt is too long.*70,000"),
    ],
)
def test_prompt_files_that_can_not_be_used(data: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=words):
        prompts(tmp_path / "p.txt", data)


def test_a_prompt_file_that_is_missing_or_no_prompt_file(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none.txt", r"none\.txt does not exist"), (tmp_path, "is no file")):
        with pytest.raises(PictureError, match=words):
            read_prompt_lines(Concept(text=ConceptText(prompt_source="prompt_file", prompt_path=str(path))))
    with (tmp_path / "model.bin").open("wb") as file:
        file.truncate(2**32)  # takes no room on the disk
    with pytest.raises(PictureError, match=r"model\.bin is too large.*4 GiB"):
        read_prompt_lines(
            Concept(text=ConceptText(prompt_source="prompt_file", prompt_path=str(tmp_path / "model.bin")))
        )


# -- a metadata file (what fits what: test_caption_metadata.py)


def with_metadata(folder: Path, names: list[str], metadata: Any, **text: Any) -> CaptionsFound[str]:
    path = folder.parent / "meta.json"
    path.write_text(metadata if isinstance(metadata, str) else json.dumps(metadata))
    text = {"prompt_source": "metadata_file", "metadata_path": str(path), **text}
    return captions_in(folder, dict.fromkeys(names), **text)


def test_captions_and_tags_of_a_metadata_file(tmp_path: Path) -> None:
    metadata = {
        "a": {"caption": "a cat", "tags": "sitting, outdoors", "train_resolution": [512, 512]},
        "b.png": {"tags": "dog, running"},
        str(tmp_path / "set" / "c.png"): {"caption": "a bird"},
        "in/d.png": {"caption": "a fish"},
        "e": {"caption": ""},
        "f": {},
    }
    names = ["a.png", "b.png", "c.png", "in/d.png", "e.png", "f.png", "g.png"]
    found = with_metadata(tmp_path / "set", names, metadata)
    assert found.captions == {
        "a.png": ("a cat, sitting, outdoors",),
        "b.png": ("dog, running",),
        "c.png": ("a bird",),
        "in/d.png": ("a fish",),
    }
    assert not found.problems and not found.warnings


def test_lines_of_metadata_are_chosen_like_those_of_files(tmp_path: Path) -> None:
    metadata = {"a": {"caption": "one\ntwo", "tags": "x; y"}}
    both = ("one; x; y", "two; x; y")
    for lines, captions in (("join", (" ".join(both),)), ("first", both[:1]), ("in_turn", both), ("random", both)):
        found = with_metadata(tmp_path / "set", ["a.png"], metadata, caption_lines=lines, separator=";")
        assert found.captions == {"a.png": captions}


def test_what_the_metadata_file_has_besides_is_told(tmp_path: Path) -> None:
    metadata = {"a": {"caption": "cat"}, "gone.png": {"caption": "x"}, "/elsewhere/b.png": {"caption": "y"}}
    found = with_metadata(tmp_path / "set", ["a.png"], metadata)
    assert len(found.warnings) == 1
    assert "No picture fits 1 of the 3 entries" in found.warnings[0] and "meta.json: gone.png." in found.warnings[0]


def test_two_pictures_that_one_entry_fits_are_a_problem(tmp_path: Path) -> None:
    found = with_metadata(tmp_path / "set", ["x/a.png", "y/a.png"], {"a": {"caption": "cat"}})
    assert len(found.problems) == 1
    assert all(text in found.problems[0] for text in ("meta.json", "'a'", "x/a.png", "y/a.png"))


def test_a_set_that_was_moved(tmp_path: Path) -> None:
    metadata = {f"D:\\sets\\cats\\{name}.png": {"caption": name} for name in "ab"}
    found = with_metadata(tmp_path / "set", ["a.png", "b.png"], metadata)
    assert found.captions == {"a.png": ("a",), "b.png": ("b",)}
    assert len(found.warnings) == 1 and "D:/sets/cats" in found.warnings[0]


def test_metadata_that_names_two_folders_is_a_problem(tmp_path: Path) -> None:
    found = with_metadata(tmp_path / "set", ["a.png"], {"/x/a.png": {"caption": "x"}, "/y/a.png": {"caption": "y"}})
    assert not found.captions
    assert len(found.problems) == 1 and "/x, /y" in found.problems[0] and "meta.json" in found.problems[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not json", r"meta\.json is no JSON. Line 1, column 1"),
        ('{"a": {"caption": "x"},}', r"meta\.json is no JSON. Line 1"),
        ("", r"meta\.json is no JSON"),
        ('{"a": 1}\n{"b": 2}', r"meta\.json is no JSON. Line 2"),
        ('["a"]', r"meta\.json is a list, not a table of pictures.*It has to look like"),
        ("3", r"is a number"),
        ("null", r"is a null"),
        ('{"a": "a cat"}', r"meta\.json, the entry 'a' can't be used: it is a text.*It has to look like"),
        ('{"a": {"caption": 3}}', r"'a' can't be used: its 'caption' is a number, not text"),
        ('{"a": {"tags": [["x"]]}}', r"'a' can't be used: its 'tags' is a list, not text"),
        ('{"a": {"tags": {"x": 1}}}', r"'a' can't be used: its 'tags' is a table, not text"),
        ('{"a": {}, "a": {}}', r"meta\.json can't be read. 'a' is there 2 times"),
        ("[" * 100_000, r"meta\.json"),
        (r'{"a": {"caption": "x \ud83d"}}', r"letter 3 of its caption is no letter of Unicode"),
        (json.dumps({"a": {"caption": "x" * 70_000}}), r"'a' can't be used: its caption has 70,000 letters"),
    ],
    ids=range(15),
)
def test_metadata_that_can_not_be_used(text: str, words: str, tmp_path: Path) -> None:
    found = with_metadata(tmp_path / "set", ["a.png"], text)
    assert not found.captions
    assert len(found.problems) == 1
    assert re.search(words, found.problems[0])


def test_a_metadata_file_that_is_missing(tmp_path: Path) -> None:
    text = {"prompt_source": "metadata_file", "metadata_path": str(tmp_path / "none.json")}
    found = captions_in(tmp_path, {"a.png": None}, **text)
    assert len(found.problems) == 1 and "none.json does not exist" in found.problems[0]
