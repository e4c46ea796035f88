"""The frame of a small SVG drawing in the theme's colours: axes, lines, dots, a legend."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 900, 240
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 24, 26
MOST_POINTS = 300
COLOURS = 4
"""Lines that can be told apart: classes `line-0` and on."""

_LETTER = 6.1  # width of a letter of 11 px, roughly


@dataclass(frozen=True)
class Frame:
    """Where values lie in a drawing. x, y: the least and the largest value. top, bottom: free pixels around."""

    x: tuple[float, float]
    y: tuple[float, float]
    height: int = HEIGHT
    top: int = TOP

    def at_x(self, value: float) -> float:
        """Pixels from the left."""
        low, high = self.x
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max((value - low) / (high - low), 0.0), 1.0)

    def at_y(self, value: float) -> float:
        """Pixels from the top; what lies outside is drawn at the edge."""
        low, high = self.y
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        return self.height - BOTTOM - (self.height - self.top - BOTTOM) * share

    def points(self, xs: Iterable[float], ys: Iterable[float]) -> str:
        """Pixels of points, for a polyline."""
        return " ".join(f"{self.at_x(x):.1f},{self.at_y(y):.1f}" for x, y in zip(xs, ys, strict=True))

    def line(self, name: str, xs: Iterable[float], ys: Iterable[float]) -> str:
        """A line. name: its class in the stylesheet."""
        return f'<polyline class="{name}" points="{self.points(xs, ys)}"/>'

    def area(self, name: str, xs: Sequence[float], ys: Sequence[float]) -> str:
        """The area between a line and the lower edge."""
        low = self.y[0]
        return f'<polygon class="{name}" points="{self.points([xs[0], *xs, xs[-1]], [low, *ys, low])}"/>'

    def dot(self, name: str, x: float, y: float, title: str = "", radius: float = 3.5) -> str:
        """A dot. title: what is told when the mouse rests on it, plain text."""
        told = f"<title>{escape(title)}</title>" if title else ""
        return f'<circle class="{name}" cx="{self.at_x(x):.1f}" cy="{self.at_y(y):.1f}" r="{radius}">{told}</circle>'

    def mark(self, x: float) -> str:
        """An upright line over the whole height."""
        at = f"{self.at_x(x):.1f}"
        return f'<line class="mark" x1="{at}" x2="{at}" y1="{self.top}" y2="{self.height - BOTTOM}"/>'

    def axes(self, labels: Mapping[float, str]) -> str:
        """Lines at round values of y, and words along x: value -> its label."""
        parts = []
        for value in ticks(*self.y):
            y = self.at_y(value)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{short(value)}</text>')
        for value, label in labels.items():
            anchor = "end" if value == self.x[1] else "middle"
            x = f"{self.at_x(value):.1f}"
            parts.append(f'<text x="{x}" y="{self.height - 8}" text-anchor="{anchor}">{escape(label)}</text>')
        return "".join(parts)

    def drawing(self, title: str, inside: str, legend: Mapping[str, str] | None = None) -> str:
        """The whole SVG. title: plain text. legend: class of a line -> what it is, plain text."""
        box = f'viewBox="0 0 {WIDTH} {self.height}" role="img" aria-label="{escape(title)}"'
        return f'<svg class="ochre-chart" {box}>{self.heading(title, legend)}{inside}</svg>'

    def heading(self, title: str, legend: Mapping[str, str] | None = None) -> str:
        """The line above the frame: title to the left, legend to the right."""
        y, right = self.top - 8, float(WIDTH - RIGHT)
        parts = [f'<text class="title" x="{LEFT}" y="{y}">{escape(title)}</text>']
        for name, words in reversed(list((legend or {}).items())):
            shown = words if len(words) <= 40 else words[:39] + "…"
            left = right - _LETTER * len(shown)
            parts.append(f'<text x="{left:.0f}" y="{y}">{escape(shown)}</text>')
            parts.append(f'<line class="{name}" x1="{left - 24:.0f}" x2="{left - 6:.0f}" y1="{y - 4}" y2="{y - 4}"/>')
            right = left - 40
        return "".join(parts)


def empty(title: str) -> str:
    """A drawing with nothing in it but its title, plain text."""
    return Frame((0, 1), (0, 1)).drawing(title, "")


def step_labels(last: int) -> dict[float, str]:
    """Five steps from 0 to the last one."""
    steps = sorted({round(last * quarter / 4) for quarter in range(5)})
    return {step: f"{step:,}" for step in steps}


def short(value: float) -> str:
    """A number in few letters: `0.25`, `1e-4`, `1,200`."""
    if value and (abs(value) < 1e-3 or abs(value) >= 1e6):
        mantissa, _, power = f"{value:.3e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(power)}"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def reach(values: Sequence[float], spikes: float = 0.02) -> tuple[float, float]:
    """From zero or just under the least, to the largest but for a share of spikes."""
    ordered = sorted(values)
    high = ordered[min(len(ordered) - 1, math.ceil(len(ordered) * (1 - spikes)))]
    low = ordered[0]
    low = 0.0 if low >= 0 and low < 0.5 * high else low - 0.05 * (high - low)
    return (low, high * 1.05) if high * 1.05 > low else (low - 0.5, low + 0.5)


def ticks(low: float, high: float) -> list[float]:
    """Three to six round values within the range."""
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step - 1e-9)
    digits = max(0, 12 - math.floor(math.log10(step)))
    return [round(index * step, digits) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def evenly(count: int, most: int = MOST_POINTS) -> list[int]:
    """At most `most` indices, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(index * (count - 1) / (most - 1)) for index in range(most)]
