"""The settings of a concept: a folder of pictures that teach one thing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import field_validator

from core.dataset.buckets import parse_resolutions
from core.dataset.settings.image import ConceptImage
from core.dataset.settings.text import ConceptText
from core.errors import Problem
from core.settings import Settings, setting


def resolutions_as_text(value: Any) -> Any:
    """TOML may hold a number or a list of them: 512, [512, 768]."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return value


class Concept(Settings):
    """A folder of pictures that teach one thing."""

    name: str = setting("", "Name", "What you call it; used in reports.", affects="log")
    folder: str = setting("", "Folder", "The folder with the pictures.", kind="folder", also=("image_dir", "path"))
    subfolders: bool = setting(
        False, "Subfolders too", "Takes the pictures of all folders inside it.", also=("include_subdirectories",)
    )
    enabled: bool = setting(True, "Enabled", "Off: the concept stays in the file but isn't trained.")
    kind: Literal["standard", "regularisation", "prior_prediction", "validation"] = setting(
        "standard",
        "Kind",
        "Standard teaches something new. Regularisation shows what the model knows already, lest it be forgotten. "
        "Prior prediction holds the model to what it drew before training. Validation is only measured, not learned.",
        also=("is_reg", "class images", "diff_output_preservation", "concept type"),
    )
    trigger_word: str = setting(
        "",
        "Trigger word",
        "A word put in front of each caption that lacks it; later it calls up what was learned.",
        also=("class_tokens", "activation tag"),
    )
    repeats: float = setting(
        1.0,
        "Repeats",
        "How often each picture is shown in an epoch. With 0.5 each epoch shows half of them, in turn.",
        gt=0,
        le=10_000,
        also=("num_repeats", "balancing"),
    )
    samples_per_epoch: int = setting(
        0,
        "Samples per epoch",
        "In place of repeats: so many pictures are shown in each epoch, in turn. 0: repeats count.",
        ge=0,
        le=10_000_000,
        level="advanced",
        also=("balancing_strategy",),
    )
    loss_weight: float = setting(
        1.0,
        "Loss weight",
        "How much this concept counts beside the others.",
        ge=0,
        level="advanced",
        also=("prior_loss_weight",),
    )
    resolution: str = setting(
        "",
        "Own resolution",
        "In place of the run's: `768`, `512, 768`, or exactly `768x1152`. Empty: the run's.",
        level="advanced",
        also=("resolution_override",),
    )
    image_variations: int = setting(
        1,
        "Versions of a picture",
        "How many changed versions of each picture are encoded and kept. Without cached pictures every showing is a "
        "new one.",
        ge=1,
        le=1000,
        level="advanced",
    )
    text_variations: int = setting(
        1,
        "Versions of a caption",
        "How many changed versions of each caption are encoded and kept. Without cached captions every showing is a "
        "new one.",
        ge=1,
        le=1000,
        level="advanced",
    )
    image: ConceptImage = setting(ConceptImage(), "Augmentation", "What is done to the pictures.")
    text: ConceptText = setting(ConceptText(), "Captions", "What is done to the captions.")

    _resolutions = field_validator("resolution", mode="before")(resolutions_as_text)

    def check(self) -> Iterator[Problem]:
        if not self.resolution:
            return
        try:
            parse_resolutions(self.resolution)
        except ValueError as error:
            yield Problem("resolution", str(error))

    @property
    def trains(self) -> bool:
        """Whether its pictures are shown to the model while it learns."""
        return self.enabled and self.kind != "validation"
