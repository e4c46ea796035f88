"""The noise levels that are trained."""

from __future__ import annotations

from collections.abc import Iterator

from core.errors import Problem
from core.settings import Settings, setting


class Times(Settings):
    """The noise levels that are trained."""

    first: int = setting(
        0,
        "First time",
        "The least noisy time that is trained.",
        ge=0,
        lt=1000,
        level="advanced",
        also=("min_timestep",),
    )
    end: int = setting(
        1000, "End before", "Times are drawn below this.", gt=0, le=1000, level="advanced", also=("max_timestep",)
    )

    def check(self) -> Iterator[Problem]:
        if self.first >= self.end:
            yield Problem("end", f"must be greater than the first time ({self.first})")
