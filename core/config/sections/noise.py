"""The noise that pictures are hidden in."""

from __future__ import annotations

from core.settings import Settings, setting


class Noise(Settings):
    """The noise that pictures are hidden in."""

    noise_offset: float = setting(
        0.0,
        "Noise offset",
        "Adds noise that is equal over the whole picture, so that very dark and very bright pictures can be learned; "
        "0.03 to 0.1 is usual.",
        ge=0,
        le=1,
        level="advanced",
    )
