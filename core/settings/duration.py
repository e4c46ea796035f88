"""How long something goes on, as people write it: `500 steps`, `5 epochs`."""

from __future__ import annotations


def steps_of(text: str) -> tuple[int, str]:
    """A number and its unit, `steps` or `epochs`; (0, "") where nothing is said. ValueError, in the user's words."""
    words = text.split()
    if not words:
        return 0, ""
    if len(words) != 2 or not words[0].isdecimal() or int(words[0]) == 0:
        raise ValueError(f"must be a number with a unit, such as `500 steps` or `5 epochs` (it is '{text}')")
    unit = words[1].rstrip("s")
    if unit not in ("step", "epoch"):
        raise ValueError(f"counts in steps or epochs (it is '{text}')")
    return int(words[0]), f"{unit}s"
