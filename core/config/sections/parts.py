"""The parts of the model that are trained, and how fast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import field_validator

from core.contracts import Part
from core.errors import Problem
from core.settings import Settings, setting


class PartSettings(Settings):
    """One part of the model."""

    train: Literal["default", "yes", "no"] = setting(
        "default",
        "Train",
        "Whether this part is trained. `default`: what is usual for the base model's family: the denoiser, and for "
        "SD 1.5 the text encoder too.",
        also=("train_unet", "train_text_encoder", "network_train_unet_only", "network_train_text_encoder_only"),
    )
    learning_rate: float = setting(
        1e-4,
        "Learning rate",
        "How far each step goes. Too high destroys the model, too low learns nothing. Prodigy wants 1.",
        ge=0,
        le=10,
        also=("unet_lr", "text_encoder_lr"),
    )
    stop_after: str = setting(
        "",
        "Stop after",
        "Trains this part only so long, for example `500 steps` or `5 epochs`; the others go on. Empty: to the end.",
        level="advanced",
        also=("stop_text_encoder_training", "stop_training_after"),
    )

    @field_validator("train", mode="before")
    @classmethod
    def _take_true_and_false(cls, value: Any) -> Any:
        """Files may say true and false."""
        return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value

    def check(self) -> Iterator[Problem]:
        try:
            steps_of(self.stop_after)
        except ValueError as error:
            yield Problem("stop_after", str(error))
            return
        if self.stop_after and self.train == "no":
            yield Problem("stop_after", "this part isn't trained (train is no): leave it empty", {"stop_after": ""})


class Parts(Settings):
    """The parts of the model that can be trained."""

    denoiser: PartSettings = setting(PartSettings(), "Denoiser", "The part that draws: the UNet or transformer.")
    text_1: PartSettings = setting(
        PartSettings(learning_rate=5e-5), "Text encoder 1", "The part that reads prompts: CLIP-L."
    )
    text_2: PartSettings = setting(
        PartSettings(learning_rate=5e-5), "Text encoder 2", "SDXL's second text encoder: OpenCLIP bigG."
    )

    def trained(self, defaults: Sequence[Part] = ("denoiser",)) -> list[Part]:
        """The parts that are trained. defaults: those that the family trains where nothing else is said."""
        chosen = {name: getattr(self, name).train for name in type(self).model_fields}
        return [name for name, train in chosen.items() if train == "yes" or (train == "default" and name in defaults)]

    def rates(self, defaults: Sequence[Part] = ("denoiser",)) -> dict[Part, float]:
        """Learning rates of the parts that are trained."""
        return {name: getattr(self, name).learning_rate for name in self.trained(defaults)}

    def decided(self, defaults: Sequence[Part]) -> Parts:
        """The same with yes or no in place of `default`."""
        trained = self.trained(defaults)
        parts = {name: getattr(self, name) for name in type(self).model_fields}
        return self.model_copy(
            update={
                name: part.model_copy(update={"train": "yes" if name in trained else "no"})
                for name, part in parts.items()
            }
        )


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
