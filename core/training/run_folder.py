"""A run's workspace: its config, events, backups and requests, and the lock that keeps a second run out."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from core.config.lora import LoraConfig
from core.config.toml_file import read_config, to_data, to_toml
from core.errors import TrainingError, WorkspaceError
from core.settings import Settings, info
from core.training.events import EventLog, Finished, read_events

if TYPE_CHECKING:
    from torch import Tensor

REQUESTS = ("stop", "sample", "save")
CONTENTS = {
    "run.toml", "run.lock", "manifest.json", "prompts.json", "events.jsonl", "backups", "control", "samples", "output",
    "comparison.png", "tensorboard", "wandb",
}  # fmt: skip
"""All that a workspace holds."""

PROMPTS = "prompts.json"
"""The prompts of the samples that were read from a file."""

WRITING = ".writing-"
"""What the name of a file or folder begins with until it is whole."""


@dataclass
class State:
    """All that a run needs to go on exactly.

    network: the trained weights. optimizer, scaler: their state dicts. progress: step, epoch, step in epoch.
    more: what else a run keeps: the average of the weights, the curves.
    """

    network: dict[str, Tensor]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    progress: dict[str, Any]
    more: dict[str, Any] = field(default_factory=dict)


class RunFolder:
    """One workspace."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_path = path / "run.toml"
        self.manifest_path = path / "manifest.json"
        self.events_path = path / "events.jsonl"
        self.samples = path / "samples"
        self.tensorboard = path / "tensorboard"
        self.output = path / "output"
        self._backups = path / "backups"
        self._control = path / "control"
        self.report = EventLog(self.events_path)

    # -- who may use it

    def lock(self) -> FileLock:
        """Take the workspace for a run, until `release()`. WorkspaceError if it is another run's, or no workspace."""
        self._make(self.path)
        self._refuse_strangers()  # before the lock, which would be one more file in a folder of other things
        try:
            lock = FileLock(self._lock_path, thread_local=False)  # taken here, released by the run's thread
            lock.acquire(timeout=0)
        except Timeout:
            raise WorkspaceError(
                f"Another run is using {self.path}.",
                do="Wait for it, stop it, or choose another workspace.",
            ) from None
        return lock

    def _refuse_strangers(self) -> None:
        if not self.config_path.exists() and not is_workspace(self.path):
            raise WorkspaceError(
                f"{self.path} is no workspace: it holds other things.", do="Choose a new or an empty folder."
            )

    def is_running(self) -> bool:
        """Whether a run, of this process or of any other, holds the workspace."""
        if not self._lock_path.exists():
            return False
        try:
            with FileLock(self._lock_path, timeout=0):
                return False
        except Timeout:
            return True

    @property
    def _lock_path(self) -> Path:
        return self.path / "run.lock"

    def claim(self, config: LoraConfig) -> bool:
        """Write the config into a new workspace, or check that the run in it is this one (then True: it goes on).

        What happened after the last backup is forgotten, so that nobody takes an earlier session's end for this one's.
        A run that ended before it had looked at its pictures left nothing to go on with: another may take its place.
        WorkspaceError if the workspace holds other things, another run, or a run that has ended.
        """
        self._refuse_strangers()
        begun = self.config_path.exists() and self.manifest_path.exists()
        if begun:
            self._check_same(config)
        with _told(self.path):
            self.take_requests()  # what was asked of an earlier session
            self.report.cut_back(self._last_step())
        write_text(self.config_path, to_toml(config))  # what doesn't change the numbers may be new
        return begun

    def _last_step(self) -> int:
        backup = self.latest_backup()
        return int(backup.name.removeprefix("step-")) if backup else -1

    def writes_where(self, config: LoraConfig) -> bool:
        """Whether there is a run here already that writes its files where this config would."""
        if not self.config_path.exists():
            return False
        own = read_config(LoraConfig, self.config_path).saving
        return (own.destination, own.name) == (config.saving.destination, config.saving.name)

    def _check_same(self, config: LoraConfig) -> None:
        other = differences(read_config(LoraConfig, self.config_path), config)
        if other:
            raise WorkspaceError(
                f"{self.path} holds a run with other settings: {', '.join(other[:5])}.",
                do="Choose a new workspace, or go on with that run's own run.toml.",
            )
        if any(isinstance(event, Finished) for event in read_events(self.events_path)[0]):
            raise WorkspaceError(f"The run in {self.path} is finished.", do="Choose a new workspace to repeat it.")

    # -- steering

    def ask(self, request: str) -> None:
        """Ask the run for something: stop, sample or save."""
        assert request in REQUESTS, request
        self._make(self._control)
        (self._control / request).touch()

    def is_asked_to_stop(self) -> bool:
        """Whether the user wants the run to end; the request stays until it is taken."""
        return (self._control / "stop").exists()

    def take_requests(self) -> set[str]:
        """What was asked for since the last call."""
        taken = set()
        for request in REQUESTS:
            path = self._control / request
            if path.exists():
                path.unlink(missing_ok=True)
                taken.add(request)
        return taken

    # -- backups

    def latest_backup(self) -> Path | None:
        """The newest whole backup."""
        whole = self._whole_backups()
        return whole[-1] if whole else None

    def has_backup(self, step: int) -> bool:
        """Whether there is a whole backup of a step."""
        return self._backup_path(step).exists()

    def _backup_path(self, step: int) -> Path:
        return self._backups / f"step-{step:08d}"

    def write_backup(self, state: State, keep: int) -> Path:
        """Write a backup beside the old ones, which are deleted (but for `keep` - 1) once it is whole.

        TrainingError if it can't be written; the older backups are untouched then.
        """
        final = self._backup_path(state.progress["step"])
        part = self._backups / f"{WRITING}{final.name}"
        if final.exists():  # the same step of the same run: the same numbers
            return final
        try:
            self._sweep()
            part.mkdir(parents=True)
            _write_state(part, state)
            shutil.copy(self.config_path, part)
            for path in part.iterdir():
                _sync(path)
            part.rename(final)
            _sync(self._backups)
        except (OSError, SafetensorError, RuntimeError) as error:  # torch.save raises RuntimeError on a full disk
            shutil.rmtree(part, ignore_errors=True)
            raise self._unwritable(error) from error
        for old in self._whole_backups()[:-keep]:
            old.rename(
                self._backups / f".deleting-{old.name}"
            )  # at once, so that half of it is never taken for a backup
        self._sweep()
        return final

    def _sweep(self) -> None:
        """Delete old backups, and what a killed run left half-written or half-deleted."""
        for path in self._backups.glob(".*"):
            shutil.rmtree(path, ignore_errors=True)

    def _unwritable(self, error: Exception) -> TrainingError:
        last = self.latest_backup()
        free = shutil.disk_usage(self.path).free / 1e9
        return TrainingError(
            f"The backup can't be written to {self._backups}.",
            f"{getattr(error, 'strerror', None) or error}; {free:.1f} GB are free.",
            f"Make room, then start the same run again: it goes on from {last.name if last else 'its beginning'}.",
        )

    def _whole_backups(self) -> list[Path]:
        if not self._backups.exists():
            return []
        return sorted(path for path in self._backups.iterdir() if path.name.startswith("step-"))

    @staticmethod
    def _make(path: Path) -> None:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(
                f"The folder {path} can't be made.", f"{error.strerror}.", "Choose another folder."
            ) from error


def _write_state(folder: Path, state: State) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in state.network.items()}, folder / "network.safetensors")
    kept = {"optimizer": state.optimizer, "scaler": state.scaler, "more": state.more}
    torch.save(kept, folder / "optimizer.pt")
    write_text(folder / "progress.json", json.dumps(state.progress))


def read_backup(folder: Path) -> State:
    """A backup as it was written. WorkspaceError if a file of it is damaged."""
    import torch

    try:
        kept = torch.load(folder / "optimizer.pt", map_location="cpu", weights_only=True)
        return State(
            network=read_backup_network(folder),
            optimizer=kept["optimizer"],
            scaler=kept["scaler"],
            progress=json.loads((folder / "progress.json").read_text(encoding="utf-8")),
            more=kept.get("more", {}),  # there was none in version 1
        )
    except Exception as error:  # torch's reader raises whatever a damaged file makes it stumble over
        raise WorkspaceError(
            f"The backup {folder} is damaged.", str(error), "Delete it: the run goes on from the one before."
        ) from error


def read_backup_network(folder: Path) -> dict[str, Tensor]:
    """The trained weights of a backup, without the optimizer's state."""
    from safetensors.torch import load_file

    return load_file(folder / "network.safetensors")


def is_backup(path: Path) -> bool:
    """Whether a folder is a backup of a run."""
    return (path / "network.safetensors").is_file() and (path / "run.toml").is_file()


def is_workspace(path: Path) -> bool:
    """Whether a folder holds nothing but what a run puts there (so that an empty one can become a workspace)."""
    return all(item.name.removeprefix(WRITING) in CONTENTS for item in path.iterdir())


def propose_workspace(name: str, folder: Path = Path("workspaces")) -> Path:
    """A folder that isn't there yet."""
    stem = f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{name}"
    path, count = folder / stem, 1
    while path.exists():
        path, count = folder / f"{stem}_{count}", count + 1
    return path


def differences(one: Settings, other: Settings) -> list[str]:
    """The settings in which two configs differ, of those that affect the numbers."""
    return sorted(set(_different(to_data(one), to_data(other), "")) - _harmless(one))


def _different(one: Any, other: Any, path: str) -> Iterator[str]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in one.keys() | other.keys():
            yield from _different(one.get(key), other.get(key), f"{path}.{key}" if path else key)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from _different(a, b, f"{path}.{index}")
    elif one != other:
        yield path


def _harmless(settings: Settings, path: str = "") -> set[str]:
    """Paths of settings that may change between the sessions of one run: files, log, cost."""
    found = set()
    for name, declared in type(settings).model_fields.items():
        value, here = getattr(settings, name), f"{path}.{name}" if path else name
        for key, inner in enumerate(value) if isinstance(value, list) else [("", value)]:
            if isinstance(inner, Settings):
                found |= _harmless(inner, f"{here}.{key}" if key != "" else here)
        if info(declared).affects != "numbers":
            found.add(here)
    return found


def write_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    temporary = path.with_name(f"{WRITING}{path.name}")
    with _told(path):
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorkspaceError(
            f"{path} can't be written.", f"{error.strerror}.", "Make room, or choose another folder."
        ) from error


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
