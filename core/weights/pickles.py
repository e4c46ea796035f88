"""Reads PyTorch's checkpoint files (.ckpt, .pt, .bin) without executing anything that is written in them.

A pickle is a small program: it names functions and calls them. Here every name stands for an inert class of ours, whose
call does nothing and returns nothing of use. Only the few names that describe a tensor stand for classes, also ours,
that note where the tensor's numbers lie.
"""

from __future__ import annotations

import collections
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from core.contracts import TensorInfo
from core.errors import ModelFileError
from core.weights.header import DTYPE_BYTES, kind_of

if TYPE_CHECKING:
    from torch import Tensor

STORAGE_DTYPES: Mapping[str, str] = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}  # fmt: skip

# The older form is five pickles in a row, the first of which is this number, and then the storages.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

# What a damaged pickle makes the unpickler raise.
_DAMAGED = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError,
    OverflowError, MemoryError, RecursionError, zipfile.BadZipFile, NotImplementedError, OSError,
)  # fmt: skip


@dataclass(frozen=True)
class Storage:
    """A run of numbers in the file, which one or more tensors look at."""

    key: str
    dtype: str
    count: int

    def __setstate__(self, _: object) -> None:
        """Drops the state: a pickle may not change what was noted."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in the file, not read: a view of its storage; offset and strides count numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __setstate__(self, _: object) -> None:
        """Drops the state: a pickle may not change what was noted."""

    @property
    def info(self) -> TensorInfo:
        """Shape and dtype, as in a header."""
        return TensorInfo(self.shape, self.storage.dtype)

    @property
    def end(self) -> int:
        """One past the last number of the storage that the tensor looks at."""
        if 0 in self.shape:
            return self.offset
        return self.offset + 1 + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))


@dataclass(frozen=True)
class PickleIndex:
    """Where each tensor of a checkpoint lies.

    form: torch's zip file, or its older row of pickles.
    places: storage key -> the zip's member, or the byte in the older file where its numbers begin.
    """

    path: Path
    form: Literal["zip", "pickle"]
    tensors: Mapping[str, StoredTensor]
    places: Mapping[str, str | int]


def read_index(path: Path) -> PickleIndex:
    """List the tensors of a checkpoint: those of its `state_dict`, where it has one, else those at its top.

    Raises ModelFileError where the file is damaged, or holds no weights.
    """
    form = kind_of(path)
    try:
        content, places = _read_zip(path) if form == "zip" else _read_legacy(path)
    except _DAMAGED as error:
        raise _damaged(path, error) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    entries = content.items() if isinstance(content, dict) else ()
    tensors = {name: entry for name, entry in entries if isinstance(name, str) and isinstance(entry, StoredTensor)}
    if not tensors:
        raise ModelFileError(f"There are no weights in {path}.", "It is a PyTorch file of another kind.")
    for name, tensor in tensors.items():
        if tensor.end > tensor.storage.count or tensor.storage.key not in places:
            raise _damaged(path, f'the numbers of "{name}" are not in it')
    return PickleIndex(path, "zip" if form == "zip" else "pickle", tensors, places)


def open_storages(index: PickleIndex) -> zipfile.ZipFile | IO[bytes]:
    """Open a checkpoint to read its tensors' numbers; to be closed, or used with `with`."""
    return zipfile.ZipFile(index.path) if index.form == "zip" else index.path.open("rb")


def read_tensor(index: PickleIndex, name: str, file: zipfile.ZipFile | IO[bytes]) -> Tensor:
    """Read one tensor of a checkpoint that `open_storages` opened, in the file's dtype and shape."""
    import torch

    tensor = index.tensors[name]
    dtype, width = _torch_dtype(tensor.storage.dtype), DTYPE_BYTES[tensor.storage.dtype]
    begin, count = tensor.offset * width, (tensor.end - tensor.offset) * width
    place = index.places[tensor.storage.key]
    if count == 0:
        return torch.empty(tensor.shape, dtype=dtype)
    try:
        if isinstance(file, zipfile.ZipFile):
            with file.open(str(place)) as member:
                data = _bytes_at(member, begin, count)
        else:
            data = _bytes_at(file, int(place) + begin, count)
    except _DAMAGED as error:
        raise _damaged(index.path, error) from error
    return torch.frombuffer(data, dtype=dtype).as_strided(tensor.shape, tensor.strides).contiguous()


def _damaged(path: Path, cause: object) -> ModelFileError:
    return ModelFileError(
        f"{path} is no checkpoint that can be read:",
        f"it is damaged or not whole ({cause}), as after a download that broke off.",
        "Download it again, or choose a .safetensors file of the same model.",
    )


def _torch_dtype(name: str) -> Any:
    import torch

    names = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool", "U8": "uint8"}
    return getattr(torch, names.get(name, name.replace("I", "int")))


def _bytes_at(file: IO[bytes], begin: int, count: int) -> bytearray:
    file.seek(begin)
    data = bytearray(file.read(count))
    if len(data) != count:
        raise EOFError(f"{count - len(data):,} bytes are missing")
    return data


def _read_zip(path: Path) -> tuple[Any, dict[str, str | int]]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        program = next((name for name in names if name.endswith("/data.pkl") and name.count("/") == 1), None)
        if program is None:
            raise ModelFileError(f"{path} is a zip file, but not one that PyTorch wrote.")
        root = program.removesuffix("data.pkl")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise ModelFileError(f"{path} was written on a big-endian machine, which is not supported.")
        with archive.open(program) as file:
            unpickler = _InertUnpickler(file)
            content = unpickler.load()
        places: dict[str, str | int] = {}
        for storage in unpickler.storages.values():
            member = f"{root}data/{storage.key}"
            if archive.getinfo(member).file_size != storage.count * DTYPE_BYTES[storage.dtype]:
                raise ValueError(f"{member} has a wrong size")
            places[storage.key] = member
    return content, places


def _read_legacy(path: Path) -> tuple[Any, dict[str, str | int]]:
    with path.open("rb") as file:
        if _InertUnpickler(file).load() != _LEGACY_MAGIC:
            raise ModelFileError(f"{path} is a pickle, but not a checkpoint that PyTorch wrote.")
        for _ in ("protocol version", "system"):
            _InertUnpickler(file).load()
        unpickler = _InertUnpickler(file)
        content = unpickler.load()
        keys = _InertUnpickler(file).load()
        places: dict[str, str | int] = {}
        for key in keys:
            storage = unpickler.storages[key]
            count = int.from_bytes(_bytes_at(file, file.tell(), 8), "little")
            if count != storage.count:
                raise ValueError(f"storage {key} has a wrong size")
            places[key] = file.tell()
            file.seek(count * DTYPE_BYTES[storage.dtype], 1)
        if file.tell() > path.stat().st_size:
            raise EOFError(f"{file.tell() - path.stat().st_size:,} bytes are missing")
    return content, places


class _Inert:
    """What stands for every function and class that a checkpoint names: takes any call, and does nothing."""

    def __new__(cls, *_: object, **__: object) -> _Inert:
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        """Takes whatever the pickle passes, and drops it."""

    def __call__(self, *_: object, **__: object) -> _Inert:
        return _Inert()

    def __setstate__(self, _: object) -> None:
        """Drops the state: the pickle may not set an attribute of ours."""

    def __setitem__(self, _: object, __: object) -> None:
        """Drops the item."""

    def append(self, _: object) -> None:
        """Drops the item."""

    def extend(self, _: object) -> None:
        """Drops the items."""

    def add(self, _: object) -> None:
        """Drops the item."""


class _Table(dict[Any, Any]):
    """What stands for an OrderedDict; its attributes (a state dict's `_metadata`) are dropped."""

    def __init__(self, items: Any = (), *_: object) -> None:
        super().__init__(items if isinstance(items, (list, tuple, dict)) else ())

    def __setstate__(self, _: object) -> None:
        """Drops the state."""


class _Tensor(_Inert):
    """What stands for the functions that rebuild a tensor: notes where its numbers lie."""

    def __new__(cls, storage: Any, offset: int, shape: Any, strides: Any, *_: object) -> Any:
        numbers = (offset, *shape, *strides)
        if not isinstance(storage, Storage) or not all(type(number) is int and number >= 0 for number in numbers):
            return _Inert()
        if len(shape) != len(strides):
            raise ValueError("a tensor's shape and strides differ in length")
        return StoredTensor(storage, offset, tuple(shape), tuple(strides))


class _Parameter(_Inert):
    """What stands for the functions that make a parameter of a tensor: gives the tensor back."""

    def __new__(cls, data: Any, *_: object) -> Any:
        return data


# Classes, and each with a __setstate__, because a pickle may set attributes of whatever has none.
_KNOWN: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Table,
    ("torch._utils", "_rebuild_tensor"): _Tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch._utils", "_rebuild_parameter"): _Parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _Parameter,
}


class _InertUnpickler(pickle.Unpickler):
    """An unpickler that imports nothing; `storages` fills while it loads."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="latin-1")
        self.storages: dict[str, Storage] = {}
        self._stand_ins: dict[tuple[str, str], Any] = collections.defaultdict(lambda: type("Inert", (_Inert,), {}))

    def find_class(self, module: str, name: str, /) -> Any:
        """Something of ours for every name; never what is meant."""
        if module in ("torch", "torch.storage") and name in STORAGE_DTYPES:
            return type(name, (_Inert,), {"dtype_name": STORAGE_DTYPES[name]})
        return _KNOWN.get((module, name)) or self._stand_ins[module, name]

    def persistent_load(self, pid: Any, /) -> Storage | _Inert:
        """A storage: ("storage", its class, key, device, count of numbers, and in the older form a view or None)."""
        if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage"):
            return _Inert()
        _, cls, key, _, count, *view = pid
        dtype = getattr(cls, "dtype_name", None)
        if dtype is None or type(key) is not str or type(count) is not int or count < 0 or any(view):
            return _Inert()
        storage = Storage(key, dtype, count)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"storage {key} is described in two ways")
        return storage
