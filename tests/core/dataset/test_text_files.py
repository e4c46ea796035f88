"""Text files: what is read, and what is said of a file that can't be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.dataset.text_files import lines_of, printable, read_text
from core.errors import PictureError


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_utf8_with_and_without_a_mark(tmp_path: Path) -> None:
    assert read_text(written(tmp_path / "a.txt", "Käse, 猫 😀\n".encode()), 100) == "Käse, 猫 😀\n"
    assert read_text(written(tmp_path / "b.txt", b"\xef\xbb\xbfcat"), 100) == "cat"
    assert lines_of("one,\r\n\r\n  two \r\n \n") == ["one,", "two"]


@pytest.mark.parametrize(
    "data",
    [
        "Käse".encode("latin-1"),
        "猫".encode("shift-jis"),
        "cat".encode("utf-16"),
        "cat".encode("utf-16-le"),
        b"\xff\xd8",
    ],
)
def test_another_encoding_is_an_error_that_names_the_file(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"cat\.txt is not UTF-8.*Byte \d.*save it with the encoding UTF-8"):
        read_text(written(tmp_path / "cat.txt", data), 100)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path / "cat.txt", b"a" * 2**20)
    with pytest.raises(PictureError, match=r"cat\.txt is too large.*1 MiB.*more than 64 KiB"):
        read_text(path, 2**16)
    assert len(read_text(path, 2**20)) == 2**20


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(PictureError, match=r"folder\.txt is no file"):
        read_text(tmp_path / "folder.txt", 100)
    with pytest.raises(PictureError, match=r"missing\.txt does not exist"):
        read_text(tmp_path / "missing.txt", 100)
    os.mkfifo(tmp_path / "pipe.txt")  # opening it would wait for ever
    with pytest.raises(PictureError, match=r"pipe\.txt is no file"):
        read_text(tmp_path / "pipe.txt", 100)


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "lost.txt").symlink_to(tmp_path / "gone.txt")
    with pytest.raises(PictureError, match=r"lost\.txt is a link to a file that is not there"):
        read_text(tmp_path / "lost.txt", 100)
    (tmp_path / "loop.txt").symlink_to(tmp_path / "loop.txt")
    with pytest.raises(PictureError, match=r"loop\.txt can't be read"):
        read_text(tmp_path / "loop.txt", 100)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = written(tmp_path / "cat.txt", b"cat")
    path.chmod(0)
    with pytest.raises(PictureError, match=r"cat\.txt can't be read"):
        read_text(path, 100)


def test_a_name_that_is_not_utf8_can_be_printed() -> None:
    assert printable(os.fsdecode(b"/a/k\xe4se.txt")) == "/a/k�se.txt"
