"""Which runs use what of a cache folder, how large it is, and the removal of what none of them uses."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from core.config.lora import LoraConfig
from core.dataset.cache import KINDS, PARTIAL, SUFFIX, Cache, Kind
from core.errors import WorkspaceError
from core.training.run_folder import RunFolder, write_text

RUNS = "runs"
TILE_CAPTIONS = "tile_captions"
DEFAULT = Path("workspaces/cache")
"""The folder that runs share whose workspaces are where they are proposed."""

VERSION = 1

_KEY = r"[0-9a-f]{16,64}"
_ENTRY = {**dict.fromkeys(KINDS, re.compile(_KEY + re.escape(SUFFIX))), TILE_CAPTIONS: re.compile(_KEY + r"\.json")}
_UNFINISHED = re.compile(rf"\..*{_KEY}{re.escape(PARTIAL)}")


def cache_folder(config: LoraConfig, workspace: Path) -> Path:
    """Where a run keeps its encodings: the folder of its config, or `cache` beside its workspace."""
    return Path(config.memory.cache_dir or workspace.parent / "cache")


@dataclass(frozen=True)
class Amount:
    """Files, and their bytes."""

    files: int = 0
    bytes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.files + other.files, self.bytes + other.bytes)


@dataclass(frozen=True)
class CacheSummary:
    """What a cache folder holds: kind (latents, text, tile_captions) -> amount.

    kinds: all of it. unused: what no workspace that is still there has named, which `prune_cache` removes.
    workspaces: those that use it. running: those of them with a run that is going on. gone: those that were deleted.
    """

    folder: Path
    kinds: dict[str, Amount]
    unused: dict[str, Amount]
    workspaces: list[Path]
    running: list[Path]
    gone: list[Path]

    @property
    def total(self) -> Amount:
        """All kinds together."""
        return sum(self.kinds.values(), Amount())

    @property
    def prunable(self) -> Amount:
        """All that is unused."""
        return sum(self.unused.values(), Amount())


class Usage:
    """A run's word of what it uses: `runs/<hash of the workspace>.json` in the cache folder, told before it is used."""

    def __init__(self, cache: Cache, workspace: Path) -> None:
        self.cache, self.workspace = cache, workspace.absolute()
        self._keys: dict[Kind, set[str]] = {}
        name = hashlib.sha256(str(self.workspace).encode()).hexdigest()[:16]
        self._path = cache.folder / RUNS / f"{name}.json"

    def begin(self) -> None:
        """The run is there; what an earlier session of it used is still said of it."""
        self._write()

    def record(self, kind: Kind, keys: Iterable[str]) -> None:
        """The run uses these too; of each kind, what an earlier session said is forgotten at the first call."""
        self._keys.setdefault(kind, set()).update(keys)
        self._write()

    def _write(self) -> None:
        with _alone(self.cache.folder):
            before = _read(self._path).keys if self._path.exists() else {}
            keys = {kind: sorted(self._keys.get(kind, before.get(kind, ()))) for kind in KINDS}
            write_text(self._path, json.dumps({"version": VERSION, "workspace": str(self.workspace), **keys}))


def begin_usage(config: LoraConfig, workspace: Path) -> Usage:
    """Say that a run begins to use its cache folder. WorkspaceError, before any work, where that can't be written."""
    usage = Usage(Cache(cache_folder(config, workspace)), workspace)
    crops = [concept.image.detail_crops for concept in config.concepts if concept.enabled]
    captions_tiles = any(one.enabled and one.enable_captioning for one in crops)
    if config.memory.latent_caching or config.memory.text_caching or captions_tiles:
        usage.cache.check_writable()
        usage.begin()
    return usage


def cache_summary(folder: Path | str) -> CacheSummary:
    """What is in a cache folder, for a report; nothing is changed. WorkspaceError for a record that can't be read."""
    folder = Path(folder)
    records = _records(folder)
    kinds: defaultdict[str, Amount] = defaultdict(Amount)
    unused: defaultdict[str, Amount] = defaultdict(Amount)
    named = _named(records)
    for file in _files(folder):
        kinds[file.kind] += file.amount
        if file.is_unused(named):
            unused[file.kind] += file.amount
    return CacheSummary(
        folder=folder,
        kinds=dict(kinds),
        unused=dict(unused),
        workspaces=sorted(record.workspace for record in records if record.exists),
        running=sorted(record.workspace for record in records if record.is_running),
        gone=sorted(record.workspace for record in records if not record.exists),
    )


def prune_cache(folder: Path | str) -> dict[str, Amount]:
    """Remove what no workspace that is still there has named, and say how much of each kind.

    Runs that are going on keep what they use. A workspace that was moved, or that this machine doesn't see, counts as
    gone. Captions of tiles stay. Nothing but files that Ochre named is touched.
    """
    return _remove(Path(folder), keep_used=True)


def clear_cache(folder: Path | str) -> dict[str, Amount]:
    """Remove all that Ochre keeps in the folder, and say how much of each kind. WorkspaceError while a run uses it."""
    return _remove(Path(folder), keep_used=False)


def _remove(folder: Path, keep_used: bool) -> dict[str, Amount]:
    if not folder.is_dir():
        return {}
    removed: defaultdict[str, Amount] = defaultdict(Amount)
    with _alone(folder):  # a run that starts now waits, and then sees what is missing
        records = _records(folder)
        running = [record.workspace for record in records if record.is_running]
        if running and not keep_used:
            raise WorkspaceError(
                f"The cache {folder} is in use by the run in {running[0]}.",
                "Nothing was removed.",
                "Stop the run, or wait until it is done.",
            )
        named = _named(records)
        for file in _files(folder):
            if (not keep_used or file.is_unused(named)) and not (running and file.unfinished):
                _delete(file.path)
                removed[file.kind] += file.amount
        for record in records:
            if not (keep_used and record.exists):
                _delete(record.path)
    return dict(removed)


# -- what is in a folder


@dataclass(frozen=True)
class _File:
    kind: str
    path: Path
    amount: Amount
    unfinished: bool = False

    def is_unused(self, named: Mapping[str, set[str]]) -> bool:
        if self.unfinished:
            return True
        return self.kind in named and self.path.stem not in named[self.kind]


def _files(folder: Path) -> Iterator[_File]:
    """The files that are surely ours: of a kind, in the folder of their first two letters; links aren't followed."""
    for kind, pattern in _ENTRY.items():
        for place in _inside(folder / kind):
            if not place.is_dir(follow_symlinks=False) or not re.fullmatch("[0-9a-f]{2}", place.name):
                continue
            for item in _inside(Path(place.path)):
                unfinished = _UNFINISHED.fullmatch(item.name) is not None
                if unfinished or (pattern.fullmatch(item.name) and item.name.startswith(place.name)):
                    with suppress(FileNotFoundError):  # a run has just finished it, and it has another name now
                        if item.is_file(follow_symlinks=False):
                            yield _File(kind, Path(item.path), Amount(1, item.stat().st_size), unfinished)


def _inside(folder: Path) -> list[os.DirEntry[str]]:
    if not folder.is_dir() or folder.is_symlink():
        return []
    with os.scandir(folder) as items:
        return list(items)


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise WorkspaceError(f"{path} can't be removed.", f"{error.strerror}.", "Look at who owns it.") from error


# -- the runs' records


@dataclass(frozen=True)
class _Record:
    path: Path
    workspace: Path
    keys: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def exists(self) -> bool:
        return (self.workspace / "run.toml").is_file()

    @property
    def is_running(self) -> bool:
        return self.exists and RunFolder(self.workspace).is_running()


def _records(folder: Path) -> list[_Record]:
    names = sorted(item.name for item in _inside(folder / RUNS))
    return [_read(folder / RUNS / name) for name in names if re.fullmatch(r"[0-9a-f]{16}\.json", name)]


def _read(path: Path) -> _Record:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["version"] != VERSION:
            raise ValueError(f"it has version {data['version']}")
        return _Record(path, Path(data["workspace"]), {kind: data[kind] for kind in KINDS})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkspaceError(
            f"{path} can't be read, so it isn't known what its run uses.",
            f"{error}.",
            "Delete this file if no run of yours is going on; a run that goes on writes it anew.",
        ) from error


def _named(records: Iterable[_Record]) -> dict[str, set[str]]:
    """Kind -> the keys that existing workspaces use; kinds that runs don't name are missing."""
    named: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for record in records:
        if record.exists:
            for kind, keys in record.keys.items():
                named[kind].update(keys)
    return named


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else writes records or removes entries meanwhile."""
    lock = FileLock(folder / RUNS / ".lock")
    try:
        (folder / RUNS).mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise WorkspaceError(
            f"The cache folder {folder} can't be written.", f"{error.strerror}.", "Choose another cache folder."
        ) from error
    try:
        yield
    finally:
        lock.release()
