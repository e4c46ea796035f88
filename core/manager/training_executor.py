"""TrainingExecutor: from a run.toml to a running job, which is followed and steered through its workspace alone."""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from filelock import FileLock

from core.config.lora import LoraConfig
from core.config.toml_file import read_config, read_toml, set_values
from core.devices import detect
from core.errors import OchreError, Problem, SettingsError, WorkspaceError
from core.manager.config_generator import precision_problem
from core.manager.optimizer_registry import OptimizerRegistry
from core.settings.checks import load
from core.training.cover import cover_problems
from core.training.events import ENDS, Event, Failed, Finished, Phase, Stopped, read_events
from core.training.planning import TrainingPlan, check_destination, plan_run
from core.training.prompt_files import problems_of
from core.training.run_folder import RunFolder, is_workspace, propose_workspace

State = Literal["running", "finished", "stopped", "failed", "interrupted"]
_STATES: dict[type[Event], State] = {Finished: "finished", Stopped: "stopped", Failed: "failed"}

log = logging.getLogger(__name__)


class Job:
    """A run, seen through its workspace: of this kernel, of another one, or of the command line."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self._folder = RunFolder(workspace)

    def events(self, offset: int = 0) -> tuple[list[Event], int]:
        """The events from `offset` on, and the offset for the next call."""
        return read_events(self._folder.events_path, offset)

    @property
    def state(self) -> State:
        """How the run stands; interrupted: it ended without a word (killed, or the machine went off)."""
        if self._folder.is_running():
            return "running"
        ending = self.ending()
        return _STATES[type(ending)] if ending else "interrupted"

    def ending(self) -> Event | None:
        """The event that ended the run."""
        return next((event for event in reversed(self.events()[0]) if isinstance(event, ENDS)), None)

    def stop(self) -> None:
        """Ask the run to end after this step; it writes a backup first."""
        self._folder.ask("stop")

    def sample_now(self) -> None:
        """Ask for samples after this step."""
        self._folder.ask("sample")

    def save_now(self) -> None:
        """Ask for the LoRA as it is after this step."""
        self._folder.ask("save")

    def wait(self, timeout: float | None = None) -> Event | None:
        """Wait until the run has ended; the event that ended it (None if it was killed, or time is up)."""
        end = None if timeout is None else time.monotonic() + timeout
        while self._folder.is_running():
            if end is not None and time.monotonic() > end:
                return None
            time.sleep(0.1)
        return self.ending()

    async def finished(self) -> Event | None:
        """Await the end of the run; meanwhile the kernel handles widget messages."""
        while self._folder.is_running():
            await asyncio.sleep(0.2)
        return self.ending()


class TrainingExecutor:
    """Starts runs and finds those that are going on."""

    _turn: ClassVar[threading.Lock] = threading.Lock()  # runs of one process don't meet: they take turns

    def plan(self, config: LoraConfig) -> TrainingPlan:
        """What the run would do. SettingsError or PictureError if it can't be done."""
        problems = [*check_destination(config), *problems_of(config), *cover_problems(config)]
        if problems:
            raise SettingsError(problems)
        return plan_run(config)

    def start(self, config_path: Path, workspace: Path | None = None, changes: Mapping[str, Any] | None = None) -> Job:
        """Start, or go on with, the run of a config on a worker thread.

        workspace: else the config's own, or the folder that holds the config if its run isn't finished, or a new one.
        changes: settings by path, laid over the file.
        SettingsError for a config with problems; WorkspaceError if the workspace is busy or holds another run.
        """
        config = load(LoraConfig, set_values(read_toml(config_path), changes or {}), str(config_path))
        folder = RunFolder(workspace or self._workspace(config, config_path))
        problems = list(self._problems(config, folder))  # before anything is made or written
        if problems:
            raise SettingsError(problems, str(config_path))
        lock = folder.lock()
        try:
            folder.claim(config)
        except OchreError:
            lock.release()
            raise
        thread = threading.Thread(target=self._carry_out, args=(folder, lock), name=f"run {folder.path}")
        thread.start()
        return Job(folder.path)

    def attach(self, workspace: Path) -> Job:
        """The job of a workspace, whoever started it. WorkspaceError if there is none."""
        if not RunFolder(workspace).config_path.exists():
            raise WorkspaceError(f"There is no run in {workspace}.", do="Choose the folder that holds its run.toml.")
        return Job(workspace)

    def running(self, folder: Path = Path("workspaces")) -> list[Job]:
        """The jobs under a folder of workspaces that are going on."""
        found = [path.parent for path in folder.glob("*/run.toml")] if folder.is_dir() else []
        return [Job(path) for path in sorted(found) if RunFolder(path).is_running()]

    @staticmethod
    def _problems(config: LoraConfig, folder: RunFolder) -> Iterator[Problem]:
        """What would break the run later: what doesn't work on this machine, files that stand in the way."""
        machine = detect()
        optimizer = OptimizerRegistry(machine).problem(config.optimizer.name, deep=True)
        yield from filter(None, (optimizer, precision_problem(config, machine)))
        if not folder.latest_backup():  # else the run has read its prompts
            yield from problems_of(config)
        yield from cover_problems(config)
        if not folder.writes_where(config):  # else the files that stand there are the run's own
            yield from check_destination(config)

    @staticmethod
    def _workspace(config: LoraConfig, config_path: Path) -> Path:
        if config.saving.workspace:
            return Path(config.saving.workspace)
        own = config_path.parent
        if config_path.name == "run.toml" and is_workspace(own) and Job(own).state != "finished":
            return own
        return propose_workspace(config.saving.name)

    @classmethod
    def _carry_out(cls, folder: RunFolder, lock: FileLock) -> None:
        try:
            if cls._turn.locked():
                folder.report(Phase(title="Waiting for another run to end"))
            config = read_config(LoraConfig, folder.config_path)  # what runs is what is in the file
            with cls._turn:
                config.engine.run(config, folder)
        except OchreError as error:
            cls._tell(folder, Failed(what=error.what, why=error.why, do=error.do))
        except OSError as error:  # what the run's own errors don't cover: samples, events, TensorBoard
            log.info("the run in %s failed", folder.path, exc_info=True)
            cls._tell(folder, _unwritable(error, folder.path))
        except Exception as error:  # the thread's end: whatever it is, the user must learn of it
            log.exception("the run in %s failed", folder.path)
            what = f"Ochre made a mistake: {type(error).__name__}: {error}"
            cls._tell(folder, Failed(what=what, do="Please report it.", details=traceback.format_exc()))
        finally:
            lock.release()

    @staticmethod
    def _tell(folder: RunFolder, failure: Failed) -> None:
        try:
            folder.report(failure)
        except OSError as error:  # a full disk: what can't be written there is at least in the log
            log.error(
                "%s %s %s (and it can't be written to the workspace: %s)", failure.what, failure.why, failure.do, error
            )


def _unwritable(error: OSError, workspace: Path) -> Failed:
    """What to tell of a file that can't be written or read, most often because the disk is full."""
    free = shutil.disk_usage(workspace).free / 1e9
    return Failed(
        what=f"{error.filename or 'A file'} can't be used: {error.strerror or error}.",
        why=f"On the workspace's disk {free:.1f} GB are free.",
        do="Make room if it is full, then start the same run again: it goes on from its last backup.",
    )
