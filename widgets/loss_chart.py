"""The loss over the steps of a run, as a small SVG in the theme's colours."""

from __future__ import annotations

import math
from collections.abc import Sequence

WIDTH, HEIGHT = 900, 240
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 24, 26
MOST_POINTS = 300
SMOOTHING = 30
"""Steps over which the smooth curve averages, exponentially."""


class LossCurve:
    """Losses as they come; drawing costs the same however long the run is."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.losses: list[float] = []
        self.smooth: list[float] = []
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

    def cut_back(self, step: int) -> None:
        """Forget what came after `step`."""
        kept = [(s, loss) for s, loss in zip(self.steps, self.losses, strict=True) if s <= step]
        self.__init__()
        for old_step, loss in kept:
            self.add(old_step, loss)

    def svg(self, total_steps: int) -> str:
        """The drawing. Its right edge is a third ahead of the last step, and at most at `total_steps`."""
        if not self.steps:
            return _frame("No step yet.", "")
        picked = _evenly(len(self.steps), MOST_POINTS)
        steps = [self.steps[index] for index in picked]
        raw, smooth = [self.losses[index] for index in picked], [self.smooth[index] for index in picked]
        low, high = _range(raw)
        last = max(min(total_steps, max(20, round(steps[-1] * 4 / 3))), steps[-1], 2)

        def line(name: str, values: Sequence[float]) -> str:
            points = " ".join(f"{_x(s, last):.1f},{_y(v, low, high):.1f}" for s, v in zip(steps, values, strict=True))
            return f'<polyline class="{name}" points="{points}"/>'

        label = f"Loss: {self.smooth[-1]:.4g} on average at step {self.steps[-1]}"
        end_x, end_y = _x(steps[-1], last), _y(smooth[-1], low, high)
        dot = f'<circle class="end" cx="{end_x:.1f}" cy="{end_y:.1f}" r="3.5"/>'
        return _frame(label, _axes(low, high, last) + line("raw", raw) + line("smooth", smooth) + dot)


def _frame(label: str, inside: str) -> str:
    return (
        f'<svg class="ochre-chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f'<text x="{LEFT}" y="16">{label}</text>{inside}</svg>'
    )


def _axes(low: float, high: float, last: int) -> str:
    parts = []
    for value in _ticks(low, high):
        y = _y(value, low, high)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>')
    for step in (round(last * quarter / 4) for quarter in range(5)):
        anchor = "end" if step == last else "middle"
        parts.append(f'<text x="{_x(step, last):.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{step:,}</text>')
    return "".join(parts)


def _x(step: float, last: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * step / last


def _y(value: float, low: float, high: float) -> float:
    share = min(max((value - low) / (high - low), 0.0), 1.0)
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def _range(values: Sequence[float]) -> tuple[float, float]:
    """From zero or just under the least, to the largest but for a few spikes."""
    ordered = sorted(values)
    high = ordered[min(len(ordered) - 1, math.ceil(len(ordered) * 0.98))]
    low = ordered[0]
    low = 0.0 if low >= 0 and low < 0.5 * high else low - 0.05 * (high - low)
    return (low, high * 1.05) if high * 1.05 > low else (low - 0.5, low + 0.5)


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round values within the range."""
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _evenly(count: int, most: int) -> list[int]:
    """At most `most` indices, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(index * (count - 1) / (most - 1)) for index in range(most)]
