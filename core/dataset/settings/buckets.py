"""The settings of the sizes that pictures are brought to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import field_validator

from core.dataset.buckets import Resolution, parse_resolutions
from core.dataset.settings.concept import Concept, resolutions_as_text
from core.errors import Problem
from core.settings import Settings, setting


class Buckets(Settings):
    """The sizes that pictures are brought to."""

    resolution: str = setting(
        "512",
        "Resolution",
        "Pictures are brought to about the area of a square with this side. Several, as in `512, 768, 1024`: shown at "
        "each in turn. `768x1152` is exactly that size.",
        unit="px",
    )
    aspect_ratio_bucketing: bool = setting(
        True,
        "Keep aspect ratios",
        "Pictures of like shape share a batch. Off: all are cropped to a square.",
        also=("enable_bucket",),
    )
    step: int = setting(
        64,
        "Bucket step",
        "Sides are multiples of this.",
        ge=8,
        le=256,
        multiple_of=8,
        unit="px",
        level="advanced",
        also=("bucket_reso_steps",),
    )
    minimum: int = setting(
        256,
        "Shortest side",
        "No bucket's side is shorter. Rounded down to a multiple of the bucket step.",
        ge=8,
        unit="px",
        level="advanced",
        also=("min_bucket_reso",),
    )
    maximum: int = setting(
        1024,
        "Longest side",
        "No bucket's side is longer. Rounded up to a multiple of the bucket step.",
        ge=8,
        unit="px",
        level="advanced",
        also=("max_bucket_reso",),
    )
    no_upscale: bool = setting(
        False,
        "Never enlarge",
        "Small pictures get buckets of about their own size, which may have sides under the shortest.",
        level="advanced",
        also=("bucket_no_upscale",),
    )
    remainder: Literal["smaller_batch", "repeat", "drop"] = setting(
        "smaller_batch",
        "What doesn't fill a batch",
        "The pictures left over in a bucket: a smaller batch, some shown twice, or left out of this epoch.",
        level="advanced",
    )

    _resolutions = field_validator("resolution", mode="before")(resolutions_as_text)

    def check(self) -> Iterator[Problem]:
        try:
            resolutions = self.resolutions()
        except ValueError as error:
            yield Problem("resolution", str(error))
            return
        yield from self._problems(resolutions, "resolution")
        side = min((resolution.width for resolution in resolutions if not resolution.exact), default=self.step)
        if side < self.step:
            yield Problem("step", f"no bucket fits: the step ({self.step}) is larger than the resolution ({side})")

    def problems_of(self, concept: Concept, path: str) -> Iterator[Problem]:
        """What is wrong with a concept's own resolution in these buckets."""
        try:
            yield from self._problems(self.resolutions(concept), path)
        except ValueError:
            return  # the concept's own check names it

    def _problems(self, resolutions: Sequence[Resolution], path: str) -> Iterator[Problem]:
        for resolution in resolutions:
            if not resolution.exact and not self.minimum <= resolution.width <= self.maximum:
                bounds = f"the shortest side ({self.minimum}) and the longest ({self.maximum})"
                yield Problem(path, f"must lie between {bounds}")

    def resolutions(self, concept: Concept | None = None) -> tuple[Resolution, ...]:
        """The run's resolutions, or those of a concept that has its own. ValueError for text that is none."""
        return parse_resolutions((concept.resolution if concept else "") or self.resolution)

    def largest(self) -> Resolution:
        """The run's resolution; of several, that with the largest area."""
        return max(self.resolutions(), key=lambda resolution: resolution.width * resolution.height)
