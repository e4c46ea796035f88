"""How often each noise level is trained, drawn before the start."""

from __future__ import annotations

from core.settings.bases.times import SCALE, TimesConfig, density
from widgets.plot import Frame

BINS = 100
_MOST = 6.0
"""What is more often than this many times the mean is drawn at the upper edge."""


def times_plot(times: TimesConfig, height: int, width: int) -> str:
    """The density over the times, as HTML. height, width: of the pictures' latents, in latent pixels."""
    if times.first >= times.end:  # told beside its setting
        return ""
    shares = density(times, height, width, BINS)
    frame = Frame((0, SCALE), (0.0, max(1.5, min(_MOST, max(shares) * 1.08))), height=180)
    edges = [edge for place in range(BINS) for edge in (place * SCALE / BINS, (place + 1) * SCALE / BINS)]
    heights = [share for share in shares for _ in range(2)]
    labels: dict[float, str] = {0: "0: clean", 250: "250", 500: "500", 750: "750", SCALE: "noise alone: 1000"}
    inside = frame.axes(labels) + frame.area("area", edges, heights) + frame.line("smooth", edges, heights)
    title = "How often each noise level is trained; 1 is even"
    shift = times.shift_for(height, width)
    if times.dynamic_shift != "off":
        title += f"; for pictures of this size the shift is {shift:.3g}"
    return frame.drawing(title, inside)
