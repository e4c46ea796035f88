"""Pictures drawn during the run."""

from __future__ import annotations

from collections.abc import Iterator

from core.errors import Problem
from core.settings import Settings, setting
from core.settings.cadence import EXAMPLES, cadence_problems, start_problems


class SamplePrompt(Settings):
    """One sample picture."""

    prompt: str = setting(
        "", "Prompt", "What to draw. {trigger} stands for the first concept's trigger word.", kind="text", affects="log"
    )
    negative: str = setting("", "Negative prompt", "What to avoid.", affects="log", level="advanced")
    width: int = setting(
        0,
        "Width",
        "0: the training resolution.",
        ge=0,
        le=8192,
        multiple_of=8,
        unit="px",
        affects="log",
        level="advanced",
    )
    height: int = setting(
        0,
        "Height",
        "0: the training resolution.",
        ge=0,
        le=8192,
        multiple_of=8,
        unit="px",
        affects="log",
        level="advanced",
    )
    seed: int = setting(
        1, "Seed", "The same seed gives the same picture from the same weights.", ge=0, lt=2**63, affects="log"
    )


class Sampling(Settings):
    """Pictures drawn during the run."""

    prompts: list[SamplePrompt] = setting([], "Prompts", "A picture is drawn for each.", affects="log")
    before_first_step: bool = setting(
        True,
        "Before the first step",
        "One grid with the untouched model, to compare with.",
        affects="log",
        also=("sample_at_first",),
    )
    every: str = setting(
        "1 epoch",
        "Draw every",
        f"How often samples are drawn: {EXAMPLES} (only before the first step and at the end).",
        affects="log",
        also=("sample_every_n_epochs", "sample_every_n_steps", "sample_after", "sample_after_unit"),
    )
    skip_first: str = setting(
        "",
        "Not before",
        "Draws none before so many steps or epochs: `500 steps`, `3 epochs`. Empty: from the start.",
        affects="log",
        level="advanced",
        also=("sample_skip_first",),
    )
    steps: int = setting(20, "Sampling steps", "Steps of the sampler.", ge=1, le=200, affects="log", level="advanced")
    guidance: float = setting(
        7.0,
        "Guidance",
        "How closely the prompt is followed.",
        ge=1,
        le=30,
        affects="log",
        level="advanced",
        also=("cfg_scale",),
    )

    def check(self) -> Iterator[Problem]:
        yield from cadence_problems("every", self.every)
        yield from start_problems("skip_first", self.skip_first)
