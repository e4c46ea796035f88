"""The settings of pictures, captions and buckets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from core.errors import Problem
from core.settings import Settings, setting


class ConceptImage(Settings):
    """What is done to a concept's pictures."""

    flip: bool = setting(
        False,
        "Mirror at random",
        "Half of the time the mirrored picture is shown. Not for things with a left and a right, such as text.",
        also=("flip_aug", "random_flip"),
    )


class ConceptText(Settings):
    """What is done to a concept's captions."""

    caption_extension: str = setting(
        ".txt",
        "Caption files end in",
        "The caption of `cat.png` is read from `cat.txt`.",
        pattern=r"^\.\w+$",
        level="advanced",
        also=("caption_extension",),
    )
    separator: str = setting(
        ",", "Tag separator", "What stands between the tags of a caption.", min_length=1, level="advanced"
    )
    shuffle_tags: bool = setting(
        False,
        "Shuffle tags",
        "The order of the tags changes each time a picture is shown. For captions that are lists of tags.",
        also=("shuffle_caption", "enable_tag_shuffling"),
    )
    keep_tags: int = setting(
        0,
        "Tags kept in place",
        "This many tags at the start are never shuffled. The trigger word comes before them and is always kept.",
        ge=0,
        also=("keep_tokens", "keep_tags_count"),
    )
    caption_dropout: float = setting(
        0.0,
        "Caption dropout",
        "Share of the time in which a picture is shown with no caption at all.",
        ge=0,
        le=1,
        level="advanced",
        also=("caption_dropout_rate",),
    )


class Concept(Settings):
    """A folder of pictures that teach one thing."""

    name: str = setting("", "Name", "What you call it; used in reports.", affects="log")
    folder: str = setting("", "Folder", "The folder with the pictures.", kind="folder", also=("image_dir", "path"))
    enabled: bool = setting(True, "Enabled", "Off: the concept stays in the file but isn't trained.")
    kind: Literal["standard", "regularisation"] = setting(
        "standard",
        "Kind",
        "Standard teaches something new. Regularisation shows what the model knows already, lest it be forgotten.",
        also=("is_reg", "class images"),
    )
    trigger_word: str = setting(
        "",
        "Trigger word",
        "A word put in front of each caption that lacks it; later it calls up what was learned.",
        also=("class_tokens", "activation tag"),
    )
    repeats: int = setting(
        1, "Repeats", "How often each picture is shown in an epoch.", ge=1, le=10_000, also=("num_repeats",)
    )
    loss_weight: float = setting(
        1.0,
        "Loss weight",
        "How much this concept counts beside the others.",
        ge=0,
        level="advanced",
        also=("prior_loss_weight",),
    )
    image: ConceptImage = setting(ConceptImage(), "Pictures", "What is done to the pictures.")
    text: ConceptText = setting(ConceptText(), "Captions", "What is done to the captions.")


class Buckets(Settings):
    """The sizes that pictures are brought to."""

    resolution: int = setting(
        512,
        "Resolution",
        "Pictures are brought to about the area of a square with this side.",
        ge=64,
        le=4096,
        unit="px",
        step=64,
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

    def check(self) -> Iterator[Problem]:
        if not self.minimum <= self.resolution <= self.maximum:
            yield Problem(
                "resolution", f"must lie between the shortest side ({self.minimum}) and the longest ({self.maximum})"
            )
        if self.resolution < self.step:
            yield Problem(
                "step",
                f"no bucket fits: the step ({self.step}) is larger than the resolution ({self.resolution})",
            )
