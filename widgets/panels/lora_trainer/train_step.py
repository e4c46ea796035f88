"""Training: starts the run of what stands in the form, or attaches to the one that is going on."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import ClassVar

import ipywidgets as ipw

from core.errors import OchreError, SettingsError
from core.manager.training_executor import Job
from core.training.events import Event, Failed
from core.training.run_folder import propose_workspace
from widgets.kernel_replies import answered
from widgets.panels.lora_trainer.draft import Draft
from widgets.run_view import RunView
from widgets.wording import error_note, note

WORKSPACES = Path("workspaces")
_FREE = {"saving.workspace", "version"}
"""Settings in which a run that is going on may differ from the form and still be the same run."""


class RunError(OchreError):
    """The run didn't start, or failed; in a notebook it shows as these words, without a traceback."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows."""
        return [str(self)]


class TrainStep:
    """The run, as far as this panel has to do with it."""

    _latest: ClassVar[Job | None] = None
    """The run that this kernel started last: another panel of the same kernel, after Run All, attaches to it."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self.job: Job | None = None
        self._view: RunView | None = None
        self._task: asyncio.Task[Event | None] | None = None
        self._error: OchreError | None = None

    def show(self) -> list[ipw.Widget]:
        """The view of the run; or what stood in the way of its start."""
        self._error = None
        going_on = self._going_on()
        try:
            job = going_on or self._start()
        except OchreError as error:
            self._error = error
            return [ipw.HTML(self._refusal(error))]
        if not (self._view and self.job and self.job.workspace == job.workspace and self._task):
            self._follow(job)
        TrainStep._latest = self.job = self._draft.job = job
        about = [ipw.HTML(note("This run was going on already.", "Its view is attached."))] if going_on else []
        assert self._view
        return [*about, self._view.widget]

    async def finished(self) -> Event:
        """Wait for the run's end; the event that ended it. RunError if it didn't start, failed, or was killed."""
        if self._error:
            raise RunError("The run did not start.", str(self._error))
        if self._view is None:
            raise RunError("There is no run yet.", do="Run the cell above first.")
        task = self._task or asyncio.ensure_future(self._view.follow())
        try:
            with answered():
                ending = await asyncio.shield(task)
                await self._view.job.finished()  # the workspace is let go a moment after the last event
        except asyncio.CancelledError:  # the cell was interrupted: that ends the waiting, and neither run nor view
            raise RunError("The waiting was interrupted; the run goes on.", do="panel.train() shows it.") from None
        self._view.send()
        if isinstance(ending, Failed):
            raise RunError(f"The run failed: {ending.what}", ending.why, ending.do)
        if ending is None:
            raise RunError("The run ended without a word.", do="The cell above says how to go on with it.")
        return ending

    def _follow(self, job: Job) -> None:
        self._view = RunView(job)
        try:
            self._task = asyncio.get_running_loop().create_task(self._view.follow())
        except RuntimeError:  # no loop runs, as in a script: `finished` follows
            self._task = None

    def _start(self) -> Job:
        config, problems = self._draft.check()
        if config is None or problems:
            raise SettingsError(problems)
        workspace = Path(config.saving.workspace) if config.saving.workspace else propose_workspace(config.saving.name)
        with tempfile.TemporaryDirectory() as folder:
            path = self._draft.generator.write(config, Path(folder) / "run.toml")
            return self._draft.executor.start(path, workspace)

    def _going_on(self) -> Job | None:
        """A run to attach to: this kernel's, the one in the chosen workspace, or one with the same settings."""
        latest = TrainStep._latest
        if latest and latest.state == "running":
            return latest
        data = self._draft.form.data()
        running = self._draft.executor.running(WORKSPACES)
        workspace = str(data["saving"]["workspace"])
        if workspace and (Path(workspace) / "run.toml").exists():
            job = self._draft.executor.attach(Path(workspace))
            running += [job] if job.state == "running" else []
        return next((job for job in running if self._is_the_same(job, data)), None)

    def _is_the_same(self, job: Job, data: dict[str, object]) -> bool:
        try:
            its = self._draft.generator.read(job.workspace / "run.toml")
        except OchreError:  # of another version, or another job: not ours to follow
            return False
        return all(change.path in _FREE for change in self._draft.generator.changes(its, data))

    @staticmethod
    def _refusal(error: OchreError) -> str:
        if isinstance(error, SettingsError):
            lines = "\n".join(str(problem) for problem in error.problems)
            return note("The run did not start.", f"{lines}\nThe cell Check lists what to do.", "bad")
        return error_note(error)
