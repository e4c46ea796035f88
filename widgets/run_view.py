"""A run as it goes on: bar, figures, loss curve, samples, and the buttons that steer it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from html import escape
from pathlib import Path

import ipywidgets as ipw

from core.manager.training_executor import Job
from core.training.events import Event, Failed, Finished, Sampled, Stopped, side_by_side
from widgets.loss_chart import mean_of
from widgets.plot import short
from widgets.run_progress import Progress
from widgets.thumbnails import grid
from widgets.wording import duration, error_note, file_size, note

PAUSE = 0.4
"""Seconds between two looks at the events."""


class RunView:
    """Follows a job. Whoever shows `widget` also starts `follow` as a task of the kernel's loop."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.progress = Progress()
        self._offset = 0
        self._shown_samples: list[tuple[int, int]] = []
        self._headline, self._figures, self._chart = ipw.HTML(), ipw.HTML(), ipw.HTML()
        self._samples, self._log, self._ending = ipw.HTML(), ipw.HTML(), ipw.HTML()
        self._bar = ipw.FloatProgress(min=0, max=1, _dom_classes=("ochre-bar",))
        self._buttons = [
            self._button("Stop", "stop", "Ends after this step; a backup is kept, to go on from.", job.stop),
            self._button("Sample now", "image", "Draws the samples after this step.", job.sample_now),
            self._button("Save now", "save", "Saves the LoRA as it is after this step.", job.save_now),
        ]
        buttons = ipw.HBox(self._buttons)
        parts = [self._headline, self._bar, self._figures, buttons, self._ending, self._chart, self._samples, self._log]
        self.widget = ipw.VBox(parts, _dom_classes=("ochre-run",))
        self._draw()

    async def follow(self) -> Event | None:
        """Show the run until its end; the event that ended it, or None if it was killed."""
        while not self.look():
            await asyncio.sleep(PAUSE)
        return self.progress.ending

    def look(self) -> bool:
        """Show what happened since the last look. Whether the run has ended."""
        running = self.job.state == "running"
        events, offset = self.job.events(self._offset)
        if offset < self._offset:  # cut back by a resume: these are all there are
            self.progress, self._shown_samples = Progress(), []
        self._offset = offset
        for event in events:
            self.progress.add(event)
        over = self.progress.ending is not None or not running
        if events or over:
            self._draw()
        if over:
            self._draw_ending()
        return over

    def send(self) -> None:
        """Tell the page everything again, as part of the cell that runs now.

        What runs notebooks unattended (nbclient, papermill) keeps only what comes from the running cell.
        """
        for part in self.widget.children:
            part.send_state()

    def _button(self, label: str, icon: str, tooltip: str, action: Callable[[], None]) -> ipw.Button:
        button = ipw.Button(description=label, icon=icon, tooltip=tooltip)

        def press(_: ipw.Button) -> None:
            action()
            self.progress.messages.append(f"{label}: asked for, comes after this step.")
            self._draw_log()

        button.on_click(press)
        return button

    # -- drawing

    def _draw(self) -> None:
        self._draw_headline()
        self._bar.value = self.progress.fraction
        self._figures.value = figures(self.progress)
        if self.progress.started:
            self._chart.value = self.progress.curve.svg(self.progress.started.total_steps)
        self._draw_samples()
        self._draw_log()

    def _draw_headline(self) -> None:
        progress = self.progress
        title, about = "Starting", str(self.job.workspace)
        if progress.phase:
            phase = progress.phase
            title = f"{phase.title} ({phase.done} of {phase.total})" if phase.total else phase.title
        elif progress.step and progress.started:
            title = f"Step {progress.step.step} of {progress.started.total_steps}"
        self._headline.value = (
            f'<div class="ochre-headline"><b>{escape(title)}</b><span class="ochre-help">{escape(about)}</span></div>'
        )

    def _draw_samples(self) -> None:
        grids = self.progress.samples
        marks = [(drawn.step, len(drawn.paths)) for drawn in (*grids[:1], *grids[-1:])]
        if marks == self._shown_samples:
            return
        self._shown_samples = marks
        self._samples.value = sample_grid(self.job.workspace, grids)

    def _draw_log(self) -> None:
        lines = "".join(f"<div>{escape(line)}</div>" for line in reversed(self.progress.messages))
        self._log.value = f'<div class="ochre-log">{lines}</div>' if lines else ""

    def _draw_ending(self) -> None:
        for button in self._buttons:
            button.disabled = True
        self._ending.value = ending_note(self.progress.ending, self.job.workspace)


def figures(progress: Progress) -> str:
    """The numbers of the last step, as HTML."""
    step, started = progress.step, progress.started
    if not step or not started:
        return ""
    rates = sorted(set(step.learning_rates.values()), reverse=True)
    shown = {
        "Epoch": f"{step.epoch} / {started.epochs}",
        "Loss (smoothed)": f"{progress.curve.smooth[-1]:.4f}",
        "Validation": _validation(progress),
        "Learning rate": " / ".join(short(float(f"{rate:.3g}")) for rate in rates[:2]),
        "Images per second": f"{step.images_per_second:.2f}",
        "Time left": duration(step.seconds_left) if not progress.ending else "done",
        "Memory": file_size(step.memory or step.host_memory) if step.memory or step.host_memory else "",
    }
    cells = [
        f'<div class="ochre-figure"><span>{name}</span><b>{value}</b></div>' for name, value in shown.items() if value
    ]
    return f'<div class="ochre-figures">{"".join(cells)}</div>'


def _validation(progress: Progress) -> str:
    """The loss over all that isn't learned, as last measured."""
    return f"{mean_of(progress.validated):.4f}" if progress.validated else ""


def sample_grid(workspace: Path, grids: list[Sampled]) -> str:
    """The first samples beside the latest ones, as HTML."""
    shown = [*grids[:1], *grids[-1:]] if len(grids) > 1 else grids
    rows = side_by_side(shown)
    columns = {
        _when(drawn): [workspace / path if path else None for path in (paths[place] for _, paths in rows)]
        for place, drawn in enumerate(shown)
    }
    return grid([label for label, _ in rows], columns)


def ending_note(ending: Event | None, workspace: Path) -> str:
    """How the run ended and what to do next, as HTML."""
    match ending:
        case Finished():
            return note("Done.", f"The LoRA is {ending.path}", "good")
        case Stopped():
            return note(
                f"Stopped after step {ending.step}.",
                f"A backup is kept. To go on from it: ./run-cmd.sh train --config-path {workspace / 'run.toml'}",
            )
        case Failed():
            return error_note(ending)
    return note(
        "The run ended without a word.",
        "Its process was killed, or ran out of memory. To go on from its last backup: "
        f"./run-cmd.sh train --config-path {workspace / 'run.toml'}",
        "bad",
    )


def _when(drawn: Sampled) -> str:
    return "Before" if drawn.step == 0 else f"Step {drawn.step}"
