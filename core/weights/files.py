"""Reads tensors out of weights files one by one, writes safetensors files whole or not at all, and identifies files."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file
from torch import Tensor

from core.contracts import Header, TensorInfo
from core.errors import ModelFileError, OchreError
from core.weights.header import kind_of, read_header, size_text
from core.weights.pickles import PickleIndex, open_storages, read_index, read_tensor


class TensorReader(Protocol):
    """An open weights file."""

    @property
    def header(self) -> Header:
        """Names, shapes, dtypes and metadata."""
        ...

    def keys(self) -> Iterable[str]:
        """The names of all tensors."""
        ...

    def info(self, key: str) -> TensorInfo:
        """A tensor's shape and dtype, without reading it."""
        ...

    def read(self, key: str) -> Tensor:
        """Read one tensor, on the CPU, in the file's dtype."""
        ...


class _Reader:
    def __init__(self, header: Header) -> None:
        self.header = header

    def keys(self) -> Iterable[str]:
        return self.header.tensors.keys()

    def info(self, key: str) -> TensorInfo:
        return self.header.tensors[key]


class _SafetensorsReader(_Reader):
    def __init__(self, header: Header, file: Any) -> None:
        super().__init__(header)
        self._file = file

    def read(self, key: str) -> Tensor:
        return self._file.get_tensor(key)


class _CheckpointReader(_Reader):
    def __init__(self, index: PickleIndex, file: Any) -> None:
        super().__init__(Header(index.path, {name: tensor.info for name, tensor in index.tensors.items()}))
        self._index, self._file = index, file

    def read(self, key: str) -> Tensor:
        return read_tensor(self._index, key, self._file)


@contextmanager
def open_tensors(path: Path | str) -> Iterator[TensorReader]:
    """Open a .safetensors, .ckpt, .pt or .bin file; weights are read when asked for, and nothing in it is executed.

        with open_tensors(path) as reader:
            weight = reader.read("model.diffusion_model.out.2.weight")

    Raises ModelFileError, in the user's words, for whatever is wrong with the file.
    """
    path = Path(path)
    if kind_of(path) != "safetensors":
        index = read_index(path)
        with open_storages(index) as storages:
            yield _CheckpointReader(index, storages)
        return
    header = read_header(path)
    try:
        file: AbstractContextManager[Any] = safe_open(str(path), framework="pt", device="cpu")
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path} is no model that can be read:", f"{error}.", "Download it again.") from error
    with file as opened:
        yield _SafetensorsReader(header, opened)


def write_safetensors(
    path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], overwrite: bool = False
) -> Path:
    """Write a safetensors file beside its place and rename it when whole, so that no half-written file is ever there.

    The tensors may be on any device, views of one another or not contiguous.
    Raises OchreError where a file is there already (unless `overwrite`), the disk is full, or the folder is read-only.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise OchreError(f"{path} exists already.", do="Choose another name, or allow that it is replaced.")
    needed = sum(tensor.nbytes for tensor in tensors.values())
    partial = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path.parent).free
        if free < needed:
            raise _full_disk(path, needed, free)
        partial.touch()
        mode = partial.stat().st_mode
        save_file(_on_their_own(tensors), partial, dict(metadata))
        partial.chmod(mode)  # the library lets only the owner read
        _settle(partial, path)
    except (SafetensorError, OSError) as error:
        free = shutil.disk_usage(path.parent).free if path.parent.exists() else 0
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "os error 28" in str(error):
            raise _full_disk(path, needed, free) from error
        raise OchreError(f"{path} can't be written.", f"{error}.", "Choose another folder.") from error
    finally:
        with suppress(OSError):  # the folder itself may be missing, and the error on its way says so
            partial.unlink(missing_ok=True)
    return path


def sha256_of(path: Path | str) -> str:
    """The SHA-256 of a whole file: kohya's `ss_new_sd_model_hash` and `ss_new_vae_hash`."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def legacy_hash(path: Path | str) -> str:
    """The short hash that A1111 used first, of 64 KiB from 1 MiB on: kohya's `ss_sd_model_hash` and `ss_vae_hash`."""
    with Path(path).open("rb") as file:
        file.seek(0x100000)
        return _legacy_digest(file.read(0x10000))


def model_hash(path: Path | str) -> str:
    """The SHA-256 of a safetensors file's tensors, without its header: kohya's `sshs_model_hash`."""
    with Path(path).open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        return hashlib.file_digest(file, "sha256").hexdigest()


def kohya_hashes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, str]:
    """The two hashes that kohya puts into a network's metadata: `sshs_model_hash` and `sshs_legacy_hash`.

    They are of the file as it would be with only the `ss_` entries of the metadata. The whole file is made in memory.
    """
    ours = {key: value for key, value in metadata.items() if key.startswith("ss_")}
    data = memoryview(save(_on_their_own(tensors), ours))
    begin = 8 + int.from_bytes(data[:8], "little")
    legacy = _legacy_digest(data[0x100000 : 0x100000 + 0x10000])
    return {"sshs_model_hash": hashlib.sha256(data[begin:]).hexdigest(), "sshs_legacy_hash": legacy}


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """A SHA-256 over names, dtypes, shapes and bytes, the same in whatever order the names come.

    It tells two VAEs or text encoders apart, so that a cache made with one is not used with the other.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        # Seen as bytes, because numpy has no bfloat16.
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _legacy_digest(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()[:8]


def _on_their_own(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, contiguous, each with memory of its own, as the safetensors library wants them."""
    seen: set[int] = set()
    ready = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        if tensor.untyped_storage().nbytes() != tensor.nbytes or tensor.untyped_storage().data_ptr() in seen:
            tensor = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
        ready[name] = tensor
    return ready


def _settle(partial: Path, path: Path) -> None:
    """Put a finished file in its place, and wait until the disk has it."""
    with partial.open("r+b") as file:
        os.fsync(file.fileno())
    partial.replace(path)
    # Windows and some network drives can't open a folder to sync it; the file itself is safe by then.
    with suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _full_disk(path: Path, needed: int, free: int) -> OchreError:
    return OchreError(
        f"There is no room for {path}.",
        f"It needs {size_text(needed)}, and {size_text(free)} are free.",
        "Free some space, or choose a folder on another disk.",
    )
