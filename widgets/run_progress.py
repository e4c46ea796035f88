"""What a run's events amount to: how far it is, its curve, its samples, what it said, how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from core.training.events import (
    ENDS,
    BackedUp,
    Deleted,
    Event,
    Message,
    Phase,
    Sampled,
    Saved,
    Started,
    Step,
    Validated,
)
from widgets.loss_chart import LossCurve

_MESSAGES_KEPT = 50


@dataclass
class Progress:
    """The state of a run as its events tell it. `add` takes them in order."""

    started: Started | None = None
    step: Step | None = None
    phase: Phase | None = None
    ending: Event | None = None
    curve: LossCurve = field(default_factory=LossCurve)
    validated: Validated | None = None
    samples: list[Sampled] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """Take an event into account."""
        match event:
            case Started():
                self._start(event)
            case Step():
                self.step, self.phase = event, None
                self.curve.add(event.step, event.loss)
            case Phase():
                self.phase = event
            case Validated():
                self.validated, self.phase = event, None
                self.curve.add_validation(event)
                self._say(f"Step {event.step}: validation loss {validation_losses(event)}")
            case Sampled():
                self.samples = [*(grid for grid in self.samples if grid.step < event.step), event]
            case Saved():
                self._say(f"Step {event.step}: saved {event.path}")
            case Deleted():
                names = ", ".join(Path(path).name for path in event.paths)
                self._say(f"Step {event.step}: deleted {names}, as newer files are there")
            case BackedUp():
                self._say(f"Step {event.step}: backed up")
            case Message():
                self._say(event.text if event.level == "info" else f"Note: {event.text}")
        if isinstance(event, ENDS):
            self.ending, self.phase = event, None

    @property
    def fraction(self) -> float:
        """How much of the training is done, from 0 to 1; of the work before it, while that goes on."""
        if self.step and self.started:
            return min(1.0, self.step.step / max(1, self.started.total_steps))
        if self.phase and self.phase.total:
            return min(1.0, self.phase.done / self.phase.total)
        return 0.0

    def _start(self, event: Started) -> None:
        if self.step and self.step.step > event.step:  # it goes on from a backup
            self.curve.cut_back(event.step)
            self.samples = [grid for grid in self.samples if grid.step <= event.step]
        if self.validated and self.validated.step > event.step:
            self.validated = None
        self.started, self.step, self.phase, self.ending = event, None, None, None

    def _say(self, text: str) -> None:
        self.messages = [*self.messages[-_MESSAGES_KEPT + 1 :], text]


def validation_losses(event: Validated) -> str:
    """The loss of each concept that is measured: `portraits 0.1234, hands 0.2345 (the best so far)`."""
    losses = ", ".join(f"{concept} {loss:.4f}" for concept, loss in event.losses.items())
    return f"{losses} (the best so far)" if event.best else losses
