"""Reads what a weights file says of itself (names, shapes, dtypes, metadata); reads no weight and needs no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from core.contracts import Header, TensorInfo
from core.errors import ModelFileError

# The safetensors library refuses longer headers (its MAX_HEADER_SIZE).
LONGEST_HEADER = 100_000_000

DTYPE_BYTES: Mapping[str, int] = {
    "F64": 8, "I64": 8, "U64": 8, "C64": 8,
    "F32": 4, "I32": 4, "U32": 4,
    "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
}  # fmt: skip

Kind = Literal["safetensors", "zip", "pickle"]

_AGAIN = "Download it again."

# How files that are no weights begin, what they are, and what to do about it.
_STRANGERS: tuple[tuple[bytes, str, str], ...] = (
    (b"<!doctype", "it is a web page: the download gave an error page or a log-in page instead of the model", _AGAIN),
    (b"<html", "it is a web page: the download gave an error page or a log-in page instead of the model", _AGAIN),
    (b"<?xml", "it is an XML page: the download gave an error message instead of the model", _AGAIN),
    (b'{"', "it is a JSON text, perhaps a config or an error message of the download", _AGAIN),
    (
        b"version https://git-lfs",
        "it is only git's pointer to a large file; the file itself was never downloaded",
        "Run `git lfs pull` in its repository, or download the file itself.",
    ),
    (b"gguf", "it is a GGUF file: its weights are packed for inference", "Choose the unpacked .safetensors file."),
)


def read_header(path: Path | str) -> Header:
    """The names, shapes, dtypes and metadata of a .safetensors, .ckpt, .pt or .bin file.

    Of a safetensors file only the first bytes are read; of the others the pickle, and nothing in it is executed.
    Raises ModelFileError, in the user's words, for whatever is wrong with the file.
    """
    path = Path(path)
    if kind_of(path) == "safetensors":
        return _safetensors_header(path)
    from core.weights.pickles import read_index  # here, because that file builds on this one

    index = read_index(path)
    return Header(path, {name: tensor.info for name, tensor in index.tensors.items()})


def kind_of(path: Path) -> Kind:
    """What a weights file is, by its content: safetensors, torch's zip, or torch's older bare pickle."""
    size, start = _first_bytes(path)
    if not size:
        raise _broken(path, "it is empty", _AGAIN)
    # The safetensors test comes first: a header of 640 bytes begins like a pickle.
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= LONGEST_HEADER:
        return "safetensors"
    for beginning, reason, remedy in _STRANGERS:
        if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(beginning):
            raise _broken(path, reason, remedy)
    kind: Kind | None = "zip" if start[:4] == b"PK\x03\x04" else "pickle" if _is_pickle(start) else None
    if path.suffix.lower() == ".safetensors":
        if kind:
            remedy = f"If you trust where it comes from, rename it to {path.with_suffix('.ckpt').name}."
            raise _broken(path, "it is called .safetensors, but is a PyTorch checkpoint", remedy)
        return "safetensors"
    if kind is None:
        raise _broken(path, "nothing in it looks like weights", "Choose a .safetensors or .ckpt file.")
    return kind


def size_text(count: int) -> str:
    """A number of bytes as people say it: 812 bytes, 3.2 MB, 6.94 GB."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} bytes"


def _first_bytes(path: Path) -> tuple[int, bytes]:
    """The file's size, and its first 512 bytes."""
    try:
        with path.open("rb") as file:
            return path.stat().st_size, file.read(512)
    except FileNotFoundError:
        raise ModelFileError(f"There is no file {path}.", do="Check the path.") from None
    except IsADirectoryError:
        raise ModelFileError(f"{path} is a folder, and a single weights file was expected.") from None
    except OSError as error:
        raise ModelFileError(f"{path} can't be read.", f"{error.strerror or error}.") from error


def _is_pickle(start: bytes) -> bool:
    return start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


def _broken(path: Path, reason: str, remedy: str = "") -> ModelFileError:
    return ModelFileError(f"{path} is no model that can be read:", f"{reason}.", remedy)


def _half_downloaded(path: Path, there: int, needed: int) -> ModelFileError:
    missing = needed - there
    return _broken(
        path,
        f"it is not whole: it says that it has {size_text(needed)}, and {size_text(there)} are there "
        f"({missing:,} bytes are missing), as after a download that broke off",
        _AGAIN,
    )


def _safetensors_header(path: Path) -> Header:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if size < 8:
            raise _broken(path, f"it has only {size} bytes", _AGAIN)
        if length > LONGEST_HEADER:
            raise _broken(path, "its beginning is not that of a safetensors file", _AGAIN)
        if 8 + length > size:
            raise _half_downloaded(path, size, 8 + length)
        text = file.read(length)
    try:
        entries = json.loads(text.decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise _broken(path, f"its list of contents is damaged ({error})", _AGAIN) from error
    if not isinstance(entries, dict):
        raise _broken(path, "its list of contents is damaged (no table)", _AGAIN)
    metadata = entries.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _broken(path, "its metadata are damaged (not all of them are texts)", _AGAIN)
    spans = {name: _entry(path, name, entry) for name, entry in entries.items()}
    _check_spans(path, spans, size - 8 - length)
    return Header(path, {name: info for name, (info, _, _) in spans.items()}, metadata)


def _entry(path: Path, name: str, entry: Any) -> tuple[TensorInfo, int, int]:
    """One tensor's description, and where its bytes begin and end, counted from the header's end."""
    try:
        shape, dtype, (begin, end) = entry["shape"], entry["dtype"], entry["data_offsets"]
        whole = all(type(number) is int and number >= 0 for number in (*shape, begin, end))
    except (TypeError, KeyError, ValueError):
        whole, shape, dtype, begin, end = False, (), "", 0, 0
    if not whole or not isinstance(dtype, str) or end < begin:
        raise _broken(path, f'the description of "{name}" in its list of contents is damaged', _AGAIN)
    if dtype in DTYPE_BYTES and end - begin != math.prod(shape) * DTYPE_BYTES[dtype]:
        raise _broken(path, f'"{name}" has {end - begin} bytes, which doesn\'t fit {dtype} of shape {shape}', _AGAIN)
    return TensorInfo(tuple(shape), dtype), begin, end


def _check_spans(path: Path, spans: Mapping[str, tuple[TensorInfo, int, int]], data_bytes: int) -> None:
    """The tensors must follow one another without a gap, and fill the file."""
    position = 0
    for name, (_, begin, end) in sorted(spans.items(), key=lambda item: item[1][1:]):
        if begin != position:
            fault = "overlaps the one before it" if begin < position else "leaves a gap before it"
            raise _broken(path, f'its list of contents is damaged: "{name}" {fault}', _AGAIN)
        position = end
    if position > data_bytes:
        header_bytes = path.stat().st_size - data_bytes
        raise _half_downloaded(path, header_bytes + data_bytes, header_bytes + position)
    if position < data_bytes:
        raise _broken(path, f"it has {data_bytes - position:,} bytes more than it says", _AGAIN)
