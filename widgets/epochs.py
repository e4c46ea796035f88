"""The choice of an epoch: loss and validation over the run, the files that it saved, the samples of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import ipywidgets as ipw

from core.training.events import Event, Finished, Sampled, Saved, Started, Step, Validated
from widgets.loss_chart import judged
from widgets.run_progress import Progress
from widgets.run_view import sample_grid
from widgets.wording import facts, file_size

_MOST_BUTTONS = 16
"""With more files than these, they are in a dropdown."""


@dataclass
class Candidate:
    """What the run saved after a step. epoch: that ended with it; 0: it is within one. files: the main one first."""

    step: int
    epoch: int = 0
    files: list[Path] = field(default_factory=list)
    validated: Validated | None = None
    best: bool = False

    @property
    def label(self) -> str:
        """Its epoch or step, with what was measured."""
        name = f"Epoch {self.epoch}" if self.epoch else f"Step {self.step:,}"
        loss = f" · {judged(self.validated):.4f}" if self.validated else ""
        return f"{name}{loss}{' ★' if self.best else ''}"


def candidates(events: Sequence[Event]) -> list[Candidate]:
    """What was saved and is still there, in the order of steps; of several measured as best so far, the last is it."""
    found: dict[int, Candidate] = {}
    for event in events:
        if isinstance(event, Saved):
            for path in map(Path, (event.path, *event.beside)):
                for other in found.values():  # written anew, as NAME-best is
                    other.files = [file for file in other.files if file != path]
                if path.is_file():
                    kept = found.setdefault(event.step, Candidate(event.step))
                    kept.files = [path, *kept.files] if event.why == "end" else [*kept.files, path]
    epochs, measured = _epoch_ends(events), {e.step: e for e in events if isinstance(e, Validated)}
    best = max((step for step, event in measured.items() if event.best), default=None)
    for step, candidate in found.items():
        candidate.epoch, candidate.validated, candidate.best = epochs.get(step, 0), measured.get(step), step == best
    return [candidate for _, candidate in sorted(found.items()) if candidate.files]


def _epoch_ends(events: Sequence[Event]) -> dict[int, int]:
    """Step -> the epoch that ended with it."""
    epoch_of = {event.step: event.epoch for event in events if isinstance(event, Step)}
    last = {epoch: step for step, epoch in sorted(epoch_of.items())}
    planned = max((event.epochs for event in events if isinstance(event, Started)), default=0)
    going_on = max(last, default=0)  # it was stopped, or cut by a number of steps, if it isn't the last one planned
    return {step: epoch for epoch, step in last.items() if epoch < going_on or (epoch == planned and _ended(events))}


def _ended(events: Sequence[Event]) -> bool:
    return any(isinstance(event, Finished) for event in events)


Shown = Callable[[Candidate], Sequence[ipw.Widget]]


class EpochChoice:
    """The drawing with a dot for each file, the files to choose from, and the samples beside those before the run.

    above, below: what a panel shows of a file above its samples, and below them.
    """

    def __init__(self, workspace: Path, events: Sequence[Event], above: Shown, below: Shown) -> None:
        self._workspace, self._above, self._below = workspace, above, below
        self._progress = Progress()
        for event in events:
            self._progress.add(event)
        self.candidates = candidates(events)
        self.chart, self.samples = ipw.HTML(), ipw.HTML()
        self._head, self._foot = ipw.VBox(), ipw.VBox()
        options = [(candidate.label, candidate.step) for candidate in self.candidates]
        best = next((candidate.step for candidate in self.candidates if candidate.best), self.candidates[-1].step)
        if len(options) > _MOST_BUTTONS:
            self.chooser: ipw.Dropdown | ipw.ToggleButtons = ipw.Dropdown(
                options=options, value=best, description="Show", _dom_classes=("ochre-input", "ochre-narrow")
            )
        else:
            self.chooser = ipw.ToggleButtons(options=options, value=best)
        self.chooser.observe(lambda _: self._show(), "value")
        chooser = [ipw.VBox([self.chooser], _dom_classes=("ochre-epochs",))] if len(options) > 1 else []
        self.widget = ipw.VBox([self.chart, *chooser, self._head, self.samples, self._foot])
        self._show()

    @property
    def chosen(self) -> Candidate:
        """What is shown."""
        return next(candidate for candidate in self.candidates if candidate.step == self.chooser.value)

    def _show(self) -> None:
        chosen, started = self.chosen, self._progress.started
        if started and self._progress.curve.steps:
            steps = [candidate.step for candidate in self.candidates]
            several = len(steps) > 1
            self.chart.value = self._progress.curve.svg(started.total_steps, steps, chosen.step if several else None)
        self._head.children, self._foot.children = tuple(self._above(chosen)), tuple(self._below(chosen))
        self.samples.value = sample_grid(self._workspace, self._samples_of(chosen))

    def _samples_of(self, chosen: Candidate) -> list[Sampled]:
        """The first samples, and the latest of those that were drawn up to the chosen step."""
        grids = self._progress.samples
        before, until = grids[:1], [drawn for drawn in grids[1:] if drawn.step <= chosen.step]
        return [*before, *until[-1:]]


def file_note(candidate: Candidate) -> str:
    """A file and what was measured of it, as HTML."""
    path, *beside = candidate.files
    shown = {
        "File": path,
        "Size": file_size(path.stat().st_size),
        "Saved after": f"step {candidate.step:,}" + (f", epoch {candidate.epoch}" if candidate.epoch else ""),
        "Validation": _measured(candidate.validated) if candidate.validated else "",
        "Beside it": ", ".join(file.name for file in beside),
    }
    title = f"{path.name}, the best by validation" if candidate.best else path.name
    return f'<div class="ochre-note good"><b>{escape(title)}</b>{facts(shown)}</div>'


def _measured(event: Validated) -> str:
    """The loss that counts, and those of the concepts where there are several."""
    told = f"{judged(event):.4f}"
    if len(event.losses) < 2:
        return told
    return f"{told} ({', '.join(f'{concept} {loss:.4f}' for concept, loss in event.losses.items())})"
