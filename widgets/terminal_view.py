"""A run in the terminal: a progress bar, and a line for what happens beside the steps."""

from __future__ import annotations

from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from core.manager.training_executor import Job
from core.training import events as e
from widgets.run_progress import validation_losses


class TerminalView:
    """Follows a job until it ends."""

    def __init__(self, job: Job, console: Console | None = None) -> None:
        self._job = job
        self._console = console or Console(highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self._console,
            refresh_per_second=4,
        )
        self._task = self._bar.add_task("Starting", total=None, figures="")

    def follow(self) -> e.Event | None:
        """Show the run until its end; the event that ended it. Ctrl-C stops the run, after a backup."""
        with self._bar:
            try:
                self._show_all()
            except KeyboardInterrupt:
                self._console.print("Stopping after this step; press Ctrl-C again to leave at once.")
                self._job.stop()
                self._show_all()
        ending = self._job.ending()
        if ending is None:
            self._console.print("The run ended without a word. Start it again: it goes on from its last backup.")
        return ending

    def _show_all(self) -> None:
        for event in e.follow(self._job.workspace / "events.jsonl", lambda: self._job.state == "running"):
            self._show(event)

    def _show(self, event: e.Event) -> None:
        match event:
            case e.Started():
                device, weights = event.device, f"{event.trained_weights:,}"
                self._say(f"{event.family} on {device}; {weights} trained weights; {event.total_steps} steps")
                self._bar.update(self._task, description="Training", total=event.total_steps, completed=event.step)
            case e.Step():
                self._bar.update(self._task, description="Training", completed=event.step, figures=figures(event))
            case e.Phase():
                self._show_phase(event)
            case e.Validated():
                self._say(f"step {event.step}: validation loss {validation_losses(event)}")
            case e.Sampled():
                self._say(f"step {event.step}: samples in {self._job.workspace / event.paths[0]}".rsplit("/", 1)[0])
            case e.Saved() if event.step:
                self._say(f"step {event.step}: saved {event.path}")
            case e.Message():
                self._say(event.text, "yellow" if event.level == "warning" else "")
            case e.Finished():
                self._bar.update(self._task, description="Done")
            case e.Stopped():
                self._say(f"Stopped after step {event.step}. Start the same run again to go on from there.")
            case e.Failed():
                self._say("\n".join(part for part in (event.what, event.why, event.do, event.details) if part), "red")

    def _show_phase(self, event: e.Phase) -> None:
        if event.total:
            self._bar.update(self._task, description=f"{event.title} ({event.done} of {event.total})")
        else:
            self._bar.update(self._task, description=event.title)

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(text, style=style or None, markup=False, soft_wrap=True)


def figures(step: e.Step) -> str:
    """A step's numbers in a line."""
    rates = " ".join(f"{rate:.2e}" for rate in sorted(set(step.learning_rates.values()), reverse=True))
    left = timedelta(seconds=round(step.seconds_left))
    return f"loss {step.loss:.4f}  lr {rates}  {step.images_per_second:.1f} images/s  {left} left"
