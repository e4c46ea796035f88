"""The loss over the steps of a run, and below it what is measured on held-out pictures, as a small SVG."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from core.training.events import Validated
from widgets.plot import COLOURS, HEIGHT, MOST_POINTS, Frame, empty, evenly, reach, step_labels

SMOOTHING = 30
"""Steps over which the smooth curve averages, exponentially."""
_VALIDATION = 170  # pixels of the lower drawing


class LossCurve:
    """Losses as they come; drawing costs the same however long the run is."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.losses: list[float] = []
        self.smooth: list[float] = []
        self.validated: list[Validated] = []
        self._average, self._weight = 0.0, 0.0

    def add(self, step: int, loss: float) -> None:
        """The loss of a step. One that comes again, after a resume, replaces it and what came after it."""
        if self.steps and step <= self.steps[-1]:
            self.cut_back(step - 1)
        keep = 1 - 1 / SMOOTHING
        self._average = keep * self._average + (1 - keep) * loss
        self._weight = keep * self._weight + (1 - keep)
        self.steps.append(step)
        self.losses.append(loss)
        self.smooth.append(self._average / self._weight)

    def add_validation(self, event: Validated) -> None:
        """What was measured after a step, in place of what was measured then or later before a resume."""
        self.validated = [*(one for one in self.validated if one.step < event.step), event]

    def cut_back(self, step: int) -> None:
        """Forget what came after `step`."""
        kept = [(s, loss) for s, loss in zip(self.steps, self.losses, strict=True) if s <= step]
        validated = [event for event in self.validated if event.step <= step]
        self.__init__()
        for old_step, loss in kept:
            self.add(old_step, loss)
        self.validated = validated

    def svg(self, total_steps: int, saved: Collection[int] = (), chosen: int | None = None) -> str:
        """The drawing. Its right edge is a third ahead of the last step, and at most at `total_steps`.

        saved: steps after which there is a file; they have a dot. chosen: the one that is marked.
        """
        if not self.steps:
            return empty("No step yet.")
        last = max(min(total_steps, max(20, round(self.steps[-1] * 4 / 3))), self.steps[-1], 2)
        height = HEIGHT + _VALIDATION if self.validated else HEIGHT
        picked = evenly(len(self.steps), MOST_POINTS)
        steps = [self.steps[index] for index in picked]
        raw, smooth = [self.losses[index] for index in picked], [self.smooth[index] for index in picked]
        frame = Frame((0, last), reach(raw))
        inside = frame.axes(step_labels(last)) + frame.line("raw", steps, raw) + frame.line("smooth", steps, smooth)
        inside += "".join(
            frame.dot("saved", step, loss, f"saved after step {step:,}", radius=4.5)
            for step, loss in zip(self.steps, self.smooth, strict=True)
            if step in saved
        )
        inside += frame.dot("end", steps[-1], smooth[-1])
        if self.validated:
            inside += self._validation(last, height)
        if chosen is not None:
            inside += Frame((0, last), (0, 1), height).mark(chosen)
        title = f"Loss: {self.smooth[-1]:.4g} on average at step {self.steps[-1]:,}"
        legend = {"raw": "each step", "smooth": "smoothed"}
        return Frame((0, last), (0, 1), height).drawing(title, inside, legend)

    def _validation(self, last: int, height: int) -> str:
        """The lower drawing: the mean of all, the mean with averaged weights, each concept where there are several."""
        lines = validation_lines(self.validated)
        values = [value for line in lines.values() for value in line.values()]
        frame = Frame((0, last), reach(values, spikes=0.0), height, HEIGHT + 24)
        inside, legend = frame.axes(step_labels(last)), {}
        for place, (name, line) in enumerate(reversed(lines.items())):
            style = f"line-{min(len(lines) - 1 - place, COLOURS - 1)}"
            inside += frame.line(style, line, line.values())
            inside += "".join(frame.dot(style, *point, radius=2.5) for point in line.items())
            legend[style] = name
        best = best_of(self.validated)
        title = "Validation loss"
        if best:
            said = f"best so far: {judged(best):.4g} after step {best.step:,}"
            inside += frame.dot("best", best.step, judged(best), said, radius=6)
            title += f", {said}"
        shown = {} if len(lines) == 1 else dict(sorted(legend.items()))
        return frame.heading(title, shown) + inside


def validation_lines(events: Iterable[Validated]) -> dict[str, dict[int, float]]:
    """What is drawn of validation: name of a line -> step -> loss."""
    lines: dict[str, dict[int, float]] = {"all": {}}
    concepts = {name for event in events for name in event.losses}
    for event in events:
        lines["all"][event.step] = mean_of(event)
        if event.ema_mean is not None:
            lines.setdefault("all, averaged weights", {})[event.step] = event.ema_mean
        for name, loss in event.losses.items() if len(concepts) > 1 else ():
            lines.setdefault(name, {})[event.step] = loss
    return lines


def mean_of(event: Validated) -> float:
    """The loss over all that was measured; the mean of the concepts' in a file of an older version."""
    return event.mean if event.mean is not None else sum(event.losses.values()) / max(1, len(event.losses))


def best_of(events: Sequence[Validated]) -> Validated | None:
    """The measurement that no other is better than; None where none says so."""
    return next((event for event in reversed(events) if event.best), None)


def judged(event: Validated) -> float:
    """The loss by which the best is found."""
    return event.judged if event.judged is not None else mean_of(event)
