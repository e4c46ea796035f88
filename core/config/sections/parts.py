"""The parts of the model that are trained, and how fast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import field_validator

from core.contracts import Part
from core.errors import Problem
from core.settings import Settings, setting
from core.settings.duration import steps_of


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


class TextSettings(PartSettings):
    """One text encoder."""

    layer_skip: int = setting(
        0,
        "Layers left out",
        "How many more of its last layers are left out than the family leaves out. The file then wants the same skip "
        "wherever it is used; with SD 1.5 CLIP skip does this.",
        ge=0,
        le=24,
        level="advanced",
        also=("text_encoder_layer_skip", "text_encoder_2_layer_skip"),
    )
    dropout: float = setting(
        0.0,
        "Dropout",
        "Share of the showings in which this encoder reads an empty caption, by itself; a concept's caption dropout "
        "empties it for all.",
        ge=0,
        le=1,
        level="advanced",
        also=("dropout_probability", "clip_l_dropout_rate", "clip_g_dropout_rate"),
    )


class Parts(Settings):
    """The parts of the model that can be trained."""

    denoiser: PartSettings = setting(PartSettings(), "Denoiser", "The part that draws: the UNet or transformer.")
    text_1: TextSettings = setting(
        TextSettings(learning_rate=5e-5), "Text encoder 1", "The part that reads prompts: CLIP-L."
    )
    text_2: TextSettings = setting(
        TextSettings(learning_rate=5e-5), "Text encoder 2", "SDXL's second text encoder: OpenCLIP bigG."
    )

    def all(self) -> dict[Part, PartSettings]:
        """The settings of each part."""
        return {name: getattr(self, name) for name in type(self).model_fields}

    def text(self) -> dict[Part, TextSettings]:
        """The settings of the text encoders."""
        return {name: part for name, part in self.all().items() if isinstance(part, TextSettings)}

    def trained(self, defaults: Sequence[Part] = ("denoiser",)) -> list[Part]:
        """The parts that are trained. defaults: those that the family trains where nothing else is said."""
        chosen = {"yes": True, "no": False}
        return [name for name, part in self.all().items() if chosen.get(part.train, name in defaults)]

    def rates(self, defaults: Sequence[Part] = ("denoiser",)) -> dict[Part, float]:
        """Learning rates of the parts that are trained."""
        return {name: getattr(self, name).learning_rate for name in self.trained(defaults)}

    def untrained(self) -> Parts:
        """The same with no part trained."""
        return self._training(())

    def decided(self, defaults: Sequence[Part]) -> Parts:
        """The same with yes or no in place of `default`."""
        return self._training(self.trained(defaults))

    def _training(self, trained: Sequence[Part]) -> Parts:
        """The same with these parts trained, and no others."""
        told = {name: {"train": "yes" if name in trained else "no"} for name in self.all()}
        return self.model_copy(update={name: part.model_copy(update=told[name]) for name, part in self.all().items()})
