"""Pictures drawn during the run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator

from core.errors import Problem
from core.families._samplers import SamplerName, sampler_name
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
    shape: Literal["training", "portrait", "landscape"] = setting(
        "training",
        "Shape",
        "Where width and height are 0: the training resolution, or upright (2:3) or lying (3:2) with the same area.",
        affects="log",
        level="advanced",
        shown_if={"width": [0], "height": [0]},
    )
    seed: int = setting(
        1, "Seed", "The same seed gives the same picture from the same weights.", ge=0, lt=2**63, affects="log"
    )
    random_seed: bool = setting(
        False,
        "New seed each time",
        "Another picture at each drawing, with a seed that hangs on the training seed and the step.",
        affects="log",
        level="advanced",
    )
    steps: int = setting(0, "Sampling steps", "0: those of all samples.", ge=0, le=999, affects="log", level="advanced")
    guidance: float = setting(0.0, "Guidance", "0: that of all samples.", ge=0, le=100, affects="log", level="advanced")
    sampler: Annotated[Literal["", SamplerName], BeforeValidator(sampler_name)] = setting(
        "", "Sampler", "Empty: that of all samples.", affects="log", level="advanced"
    )

    def check(self) -> Iterator[Problem]:
        if 0 < self.guidance < 1:
            yield Problem("guidance", f"must be at least 1, or 0 for that of all samples (it is {self.guidance:g})")
        if self.shape != "training" and (self.width or self.height):
            message = "has no effect, as width or height is set; make both 0, or take the shape out"
            yield Problem("shape", message, {"shape": "training"})


class Sampling(Settings):
    """Pictures drawn during the run."""

    prompts: list[SamplePrompt] = setting([], "Prompts", "A picture is drawn for each.", affects="log")
    prompts_file: str = setting(
        "",
        "More prompts from a file",
        "A .txt with a prompt a line (kohya's flags are read: --n, --w, --h, --d, --s, --l, --ss), a .toml or a .json. "
        "It is read when the run starts.",
        kind="file",
        affects="log",
        level="advanced",
        also=("sample_prompts", "sample_definition_file_name"),
    )
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
    sampler: Annotated[SamplerName, BeforeValidator(sampler_name)] = setting(
        "ddim",
        "Sampler",
        "How pictures are drawn from noise.",
        affects="log",
        level="advanced",
        also=("sample_sampler", "noise_scheduler"),
    )
    steps: int = setting(
        20,
        "Sampling steps",
        "Steps of the sampler.",
        ge=1,
        le=999,
        affects="log",
        level="advanced",
        also=("diffusion_steps",),
    )
    guidance: float = setting(
        7.0,
        "Guidance",
        "How closely the prompt is followed; 1: the prompt alone, in half the time.",
        ge=1,
        le=100,
        affects="log",
        level="advanced",
        also=("cfg_scale",),
    )

    def check(self) -> Iterator[Problem]:
        yield from cadence_problems("every", self.every)
        yield from start_problems("skip_first", self.skip_first)
