"""How well the model does on pictures that it doesn't learn."""

from __future__ import annotations

from collections.abc import Iterator

from core.dataset.held_out import MOST
from core.errors import Problem
from core.settings import Settings, setting
from core.settings.cadence import EXAMPLES, cadence_problems


class Validation(Settings):
    """Measures how well the model does on pictures that it doesn't learn: those held out, and validation concepts."""

    share: float = setting(
        0.0,
        "Share held out",
        "So much of each standard concept's pictures is not learned but only measured: 0.1 is every tenth.",
        ge=0,
        le=MOST,
        also=("validation_split",),
    )
    every: str = setting(
        "1 epoch",
        "Measure every",
        f"How often they are measured: {EXAMPLES} (only at the end).",
        affects="log",
        also=(
            "validate_every_n_steps",
            "validate_every_n_epochs",
            "validate_after",
            "validate_after_unit",
            "validation",
        ),
    )
    times: int = setting(
        4,
        "Noise levels",
        "At how many levels each picture is measured, evenly spread over those that are trained.",
        ge=1,
        le=100,
        affects="log",
        level="advanced",
    )
    at: list[int] = setting(
        [],
        "At these noise levels",
        "In place of even ones: thousandths from 0 (clean) to 999 (noise), such as 100, 500, 900.",
        affects="log",
        level="advanced",
        also=("validation_sigmas",),
    )
    seed: int = setting(
        42,
        "Seed",
        "Decides which pictures are held out, and the noise that they are measured with. It is not the run's, so that "
        "runs with other seeds can be compared.",
        ge=0,
        lt=2**63,
        level="advanced",
        also=("validation_seed",),
    )
    save_best: bool = setting(
        False,
        "Save the best",
        "Saves the LoRA as `NAME-best` each time that it is measured better than ever before.",
        affects="files",
    )

    def check(self) -> Iterator[Problem]:
        yield from cadence_problems("every", self.every)
        wrong = [level for level in self.at if not 0 <= level <= 999]
        if wrong:
            yield Problem("at", f"must be thousandths from 0 to 999 (one is {wrong[0]})")
        if len(set(self.at)) < len(self.at):
            yield Problem("at", "holds a level twice")
