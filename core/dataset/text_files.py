"""Reads the text files that people write beside their pictures: UTF-8, and no larger than such files are."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from core.errors import PictureError


def read_text(path: Path | str, most: int) -> str:
    """The text of a file, without a byte order mark.

    PictureError, naming the file, where it can't be read, is no file, has more than `most` bytes, or is not UTF-8.
    """
    data = _bytes(path, most)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(path, f"Byte {error.start + 1} can't be read.") from error
    if "\0" in text:  # what UTF-16 without a byte order mark looks like
        raise _not_utf8(path, f"Byte {data.index(0) + 1} is zero.")
    return text


def lines_of(text: str) -> list[str]:
    """The lines that aren't empty, without the space around them."""
    return [stripped for line in text.splitlines() if (stripped := line.strip())]


def printable(path: Path | str) -> str:
    """A path as text that any file and terminal takes: bytes of a name that are not UTF-8 become a replacement sign."""
    return os.fsencode(path).decode("utf-8", "replace")


def _bytes(path: Path | str, most: int) -> bytes:
    try:
        state = Path(path).stat()
        if not stat.S_ISREG(state.st_mode):
            raise PictureError(f"{printable(path)} is no file.")
        if state.st_size > most:
            raise PictureError(
                f"{printable(path)} is too large for its purpose.",
                f"It has {_size(state.st_size)}, and more than {_size(most)} are surely another kind of file.",
                "Move it elsewhere, or choose another file.",
            )
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        if Path(path).is_symlink():
            raise PictureError(f"{printable(path)} is a link to a file that is not there.") from error
        raise PictureError(f"{printable(path)} does not exist.") from error
    except OSError as error:
        raise PictureError(f"{printable(path)} can't be read.", f"{error.strerror}.") from error


def _not_utf8(path: Path | str, why: str) -> PictureError:
    return PictureError(
        f"{printable(path)} is not UTF-8 text.",
        why,
        "Open it in a text editor and save it with the encoding UTF-8.",
    )


def _size(count: int) -> str:
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= unit:
            return f"{count / unit:.0f} {name}"
    return f"{count} bytes"
