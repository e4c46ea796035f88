"""Captions: what is read from their files, and what a picture is shown with."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from core.dataset.captions import caption_for, read_caption, with_trigger_word
from core.dataset.settings import Concept, ConceptText
from core.errors import PictureError


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_files(tmp_path: Path) -> None:
    assert read_caption(written(tmp_path / "a.txt", "Käse, 猫\n".encode())) == "Käse, 猫"
    assert read_caption(written(tmp_path / "b.txt", b"\xef\xbb\xbfcat")) == "cat"
    assert read_caption(written(tmp_path / "c.txt", b"one,\r\n\r\n  two \r\n")) == "one, two"
    assert read_caption(written(tmp_path / "d.txt", b"")) == ""
    assert read_caption(tmp_path / "missing.txt") is None


@pytest.mark.parametrize("data", ["Käse".encode("latin-1"), "猫".encode("shift-jis"), "cat".encode("utf-16")])
def test_another_encoding_is_an_error_that_names_the_file(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"cat\.txt is not UTF-8.*save it with the encoding UTF-8"):
        read_caption(written(tmp_path / "cat.txt", data))


@pytest.mark.parametrize(
    ("caption", "word", "result"),
    [
        ("outdoors, sitting", "sks", "sks, outdoors, sitting"),
        ("", "sks", "sks"),
        ("outdoors", "", "outdoors"),
        ("girl, sks, hat", "sks", "girl, sks, hat"),
        ("girl, SKS", "sks", "girl, SKS"),
        ("cat ears, girl", "cat", "cat, cat ears, girl"),
        ("sksy, girl", "sks", "sks, sksy, girl"),
        ("a photograph of sks on a long beach", "sks", "a photograph of sks on a long beach"),
        ("a photograph of Sks, on a long and sandy beach", "sks", "a photograph of Sks, on a long and sandy beach"),
        ("a photograph of sksy on a long beach", "sks", "sks, a photograph of sksy on a long beach"),
        ("it is a c++ book on the table", "c++", "it is a c++ book on the table"),
    ],
)
def test_the_trigger_word_comes_in_front_unless_it_is_there(caption: str, word: str, result: str) -> None:
    assert with_trigger_word(caption, word, ",") == result


def shown(concept: Concept, raw: str, count: int = 200) -> list[str]:
    return [caption_for(concept, raw, seed=1, epoch=sample // 10, sample=sample) for sample in range(count)]


def test_shuffled_tags_keep_the_first_and_lose_none() -> None:
    concept = Concept(trigger_word="sks", text=ConceptText(shuffle_tags=True, keep_tags=2))
    captions = shown(concept, "a, b, c, d, e, f")
    assert all(caption.startswith("sks, a, b, ") for caption in captions)
    assert all(sorted(caption.split(", ")) == ["a", "b", "c", "d", "e", "f", "sks"] for caption in captions)
    assert len(set(captions)) == 24  # every order of the four loose tags comes
    assert captions == shown(concept, "a, b, c, d, e, f")


def test_a_trigger_word_among_shuffled_tags_is_not_lost_or_doubled() -> None:
    concept = Concept(trigger_word="sks", text=ConceptText(shuffle_tags=True))
    assert {caption.split(", ")[0] for caption in shown(concept, "a, b, sks, c")} == {"sks"}
    assert {caption.count("sks") for caption in shown(concept, "a, b, sks, c")} == {1}


def test_another_separator() -> None:
    concept = Concept(trigger_word="sks", text=ConceptText(shuffle_tags=True, separator=";", keep_tags=9))
    assert shown(concept, "a, b; c", 1) == ["sks; a, b; c"]


def test_dropout_drops_about_its_share_with_the_trigger_word() -> None:
    concept = Concept(trigger_word="sks", text=ConceptText(caption_dropout=0.25))
    counts = Counter(shown(concept, "cat", 4000))
    assert set(counts) == {"", "sks, cat"}
    assert 0.22 < counts[""] / 4000 < 0.28


def test_captions_that_nothing_is_done_to_stay_as_they_are() -> None:
    assert set(shown(Concept(), "A cat , odd;spacing")) == {"A cat , odd;spacing"}
