"""Tensors on disk, found by all that determines them, so that runs share them."""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args
from uuid import uuid4

from core.errors import OchreError, WorkspaceError

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["latents", "text"]
KINDS: tuple[Kind, ...] = get_args(Kind)

SUFFIX = ".safetensors"
PARTIAL = ".part"
"""What the name of a file ends in until it is whole."""

_START = 4096  # bytes; the header of an entry is shorter
_CHECKSUM = "crc32"

_log = logging.getLogger(__name__)


class Cache:
    """A folder of safetensors files, `latents/ab/abcdef....safetensors`, each there whole or not at all.

    Any number of processes may use it at once: whoever comes last replaces a file by an equal one.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def path(self, kind: Kind, key: str) -> Path:
        """The file of a key, whether it is there or not."""
        return self.folder / kind / key[:2] / f"{key}{SUFFIX}"

    def check_writable(self) -> None:
        """WorkspaceError where nothing can be written into the folder, or into that of a kind."""
        for kind in KINDS:
            probe = self.folder / kind / f".{uuid4().hex}{PARTIAL}"
            try:
                probe.parent.mkdir(parents=True, exist_ok=True)
                probe.write_bytes(b"")
                probe.unlink()
            except OSError as error:
                raise WorkspaceError(
                    f"The cache folder {self.folder} can't be written.",
                    f"{probe.parent}: {error.strerror}.",
                    "Choose another cache folder (memory.cache_dir).",
                ) from error

    def has(self, kind: Kind, key: str) -> bool:
        """Whether there is a whole file, by its header and its length; a broken one is missing, and the log says so.

        About 15 microseconds a file on a local disk: the content is looked at only when it is read.
        """
        path = self.path(kind, key)
        try:
            with path.open("rb", buffering=0) as file:
                start, size = file.read(_START), os.fstat(file.fileno()).st_size
            _header(start, size)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, ValueError) as error:
            _tell_broken(path, error)
            return False
        return True

    def get(self, kind: Kind, key: str) -> dict[str, Tensor] | None:
        """The tensors of a key, on the CPU; None where there is no file or a broken one, which is then deleted.

        So what was damaged is made again at the latest when the run is started the next time.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        path = self.path(kind, key)
        try:
            data = path.read_bytes()
            length, header = _header(data[:_START], len(data))
            if header.get("__metadata__", {}).get(_CHECKSUM) != _checksum(memoryview(data)[8 + length :]):
                raise ValueError("its content is not what was written")
            return load(data)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, SafetensorError) as error:
            _tell_broken(path, error)
            with suppress(OSError):  # it may be on a disk that can no longer be written
                path.unlink(missing_ok=True)
            return None

    def put(self, kind: Kind, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Write the tensors of a key. OchreError where the disk is full or can't be written.

        It isn't waited for the disk: a file that a power cut damaged is found out by `has` or `get`.
        """
        from safetensors.torch import save

        path = self.path(kind, key)
        ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        plain = save(ready)
        begin = 8 + int.from_bytes(plain[:8], "little")
        data = save(ready, {_CHECKSUM: _checksum(memoryview(plain)[begin:])})
        partial = path.with_name(f".{path.name}.{uuid4().hex}{PARTIAL}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(data)
            partial.replace(path)
        except OSError as error:
            with suppress(OSError):  # the folder itself may be missing
                partial.unlink(missing_ok=True)
            raise OchreError(
                f"{path} can't be written.",
                f"{error.strerror}.",
                "Make room (`./run-cmd.sh cache` tells what can go), or choose another cache folder.",
            ) from error


def _header(start: bytes, size: int) -> tuple[int, dict[str, Any]]:
    """Length and content of a file's header. ValueError where they don't fit a file of this size."""
    length = int.from_bytes(start[:8], "little")
    if not 0 < length <= len(start) - 8:
        raise ValueError("it doesn't begin with a header")
    try:
        header = json.loads(start[8 : 8 + length])  # ValueError for what is no JSON
        end = max(item["data_offsets"][1] for name, item in header.items() if name != "__metadata__")
    except (AttributeError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise ValueError("its header is damaged") from error
    if 8 + length + end != size:
        raise ValueError(f"it has {size} bytes in place of {8 + length + end}")
    return length, header


def _checksum(data: memoryview) -> str:
    return f"{zlib.crc32(data):08x}"


def _tell_broken(path: Path, error: Exception) -> None:
    _log.warning("A file of the cache is broken and will be written anew: %s (%s)", path, error)
