"""The settings of concepts, pictures, captions and buckets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import field_validator

from core.dataset.buckets import Resolution, parse_resolutions
from core.errors import Problem
from core.settings import Settings, setting

Change = Literal["off", "random", "fixed"]
"""A change of a picture: none, drawn for each version of it, or the same for all."""

PROMPT = "Name what this detail of a larger picture shows, in one line of plain words or tags."


def _resolutions_as_text(value: Any) -> Any:
    """TOML may hold a number or a list of them: 512, [512, 768]."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return value


class DetailCrops(Settings):
    """Square tiles cut from large pictures, so that small things in them are learned."""

    enabled: bool = setting(
        False,
        "Detail crops",
        "Cuts large pictures into squares, made on the fly, so that small things in them are learned.",
    )
    tile_resolution: int = setting(
        512,
        "Side of a tile",
        "The square's side; usually the training resolution.",
        ge=64,
        le=4096,
        multiple_of=8,
        unit="px",
        step=64,
        shown_if={"enabled": [True]},
    )
    overlap: int = setting(
        64,
        "Overlap",
        "How far neighbouring tiles overlap at least. It grows so that the last tile ends at the picture's edge.",
        ge=0,
        unit="px",
        shown_if={"enabled": [True]},
    )
    scales: list[int] = setting(
        [],
        "Scales",
        "For `2, 4` each picture is first brought to about the area of 2 × 2 and of 4 × 4 tiles, and then cut. "
        "Empty: cut at its own size. It is never enlarged.",
        shown_if={"enabled": [True]},
    )
    include_full_images: bool = setting(
        True,
        "Whole pictures too",
        "The whole picture stays in the set beside its tiles. Off: tiles only.",
        shown_if={"enabled": [True]},
    )
    include_context_tiles: bool = setting(
        False,
        "Context tiles",
        "Adds the whole picture once more, shrunk to the area of a tile.",
        shown_if={"enabled": [True]},
    )
    blank_std_threshold: float = setting(
        4.0,
        "Blank below contrast",
        "A tile whose brightness (0 to 255) varies less than this (standard deviation) and that has few edges is left "
        "out. 0: none is.",
        ge=0,
        le=128,
        level="advanced",
        shown_if={"enabled": [True]},
    )
    blank_edge_threshold: float = setting(
        0.005,
        "Blank below edges",
        "Share of a tile's pixels that lie on an edge, under which it counts as empty. 0: none does.",
        ge=0,
        le=1,
        level="advanced",
        shown_if={"enabled": [True]},
    )
    regenerate_each_epoch: bool = setting(
        False,
        "New grid each epoch",
        "The grid is laid anew in each epoch, a little shifted; each is encoded once. Off: one grid for the whole run.",
        level="advanced",
        shown_if={"enabled": [True]},
    )
    parallel_workers: int = setting(
        0,
        "Workers",
        "Threads that look for tiles and ask for captions; 0: by the machine's cores, of which at most four ask.",
        ge=0,
        le=64,
        affects="cost",
        level="advanced",
        shown_if={"enabled": [True]},
    )
    enable_captioning: bool = setting(
        False,
        "Caption tiles",
        "A vision model of a local Ollama writes captions for the tiles. Off: a tile has its picture's caption.",
        shown_if={"enabled": [True]},
    )
    caption_probability: float = setting(
        1.0,
        "Share captioned",
        "Share of the tiles that get a caption of their own; the others keep their picture's.",
        ge=0,
        le=1,
        shown_if={"enabled": [True], "enable_captioning": [True]},
    )
    caption_model: str = setting(
        "qwen2.5vl:3b",
        "Caption model",
        "The model's name in Ollama.",
        min_length=1,
        shown_if={"enabled": [True], "enable_captioning": [True]},
    )
    caption_system_prompt: str = setting(
        "You write captions for training an image model. Answer with the caption alone.",
        "System prompt",
        "What the caption model is told to be.",
        kind="text",
        level="advanced",
        shown_if={"enabled": [True], "enable_captioning": [True]},
    )
    caption_user_prompt: str = setting(
        PROMPT + " The caption of the whole picture: {context}",
        "Prompt",
        "What is asked of each tile. {context} becomes the caption of the picture that it is cut from.",
        kind="text",
        level="advanced",
        shown_if={"enabled": [True], "enable_captioning": [True]},
    )
    caption_endpoint: str = setting(
        "http://127.0.0.1:11434",
        "Ollama's address",
        "Where Ollama listens. The tiles are sent there, and nowhere else.",
        level="advanced",
        shown_if={"enabled": [True], "enable_captioning": [True]},
    )
    caption_timeout: int = setting(
        120,
        "Wait at most",
        "For one answer, with the time that it waits for its turn.",
        ge=1,
        le=3600,
        unit="s",
        affects="cost",
        level="advanced",
        shown_if={"enabled": [True], "enable_captioning": [True]},
    )
    caption_max_retries: int = setting(
        4,
        "Try again",
        "How often a question is repeated that failed.",
        ge=0,
        le=100,
        affects="cost",
        level="advanced",
        shown_if={"enabled": [True], "enable_captioning": [True]},
    )
    caption_auto_pull: bool = setting(
        True,
        "Pull the model",
        "Lets Ollama download the caption model where it is missing.",
        level="advanced",
        shown_if={"enabled": [True], "enable_captioning": [True]},
    )
    caption_failure: Literal["use_source_caption", "stop"] = setting(
        "use_source_caption",
        "If captioning fails",
        "Ollama can't be reached, is too slow or answers nonsense: go on with the picture's caption, or stop.",
        level="advanced",
        shown_if={"enabled": [True], "enable_captioning": [True]},
    )

    def check(self) -> Iterator[Problem]:
        if self.overlap >= self.tile_resolution:
            yield Problem("overlap", f"must be less than the tile's side ({self.tile_resolution})")
        if any(not 1 <= scale <= 64 for scale in self.scales):
            yield Problem("scales", "each must be a whole number from 1 to 64, such as 2, 4")
        if not re.fullmatch(r"https?://[^\s?#]+", self.caption_endpoint):
            # without the address itself, which may hold a password
            yield Problem("caption_endpoint", "must be an address such as http://127.0.0.1:11434")
        elif "@" in self.caption_endpoint:
            yield Problem("caption_endpoint", "must not hold credentials, which would stand in run.toml")


def _strength(title: str, change: str, description: str, limit: float = 1.0) -> Any:
    return setting(
        0.1, title, description, ge=-limit, le=limit, level="advanced", shown_if={change: ["random", "fixed"]}
    )


class ConceptImage(Settings):
    """What is done to a concept's pictures."""

    flip: Change = setting(
        "off",
        "Mirror",
        "Random: half of the versions are mirrored. Not for things with a left and a right, such as text.",
        also=("flip_aug", "random_flip"),
    )
    crop_jitter: bool = setting(
        False,
        "Crop at random",
        "What doesn't fit the bucket is cut at a random place. Off: the middle is kept.",
        also=("random_crop", "enable_crop_jitter"),
    )
    rotate: Change = setting(
        "off", "Rotate", "Turns the picture, enlarged so that no corner is empty.", level="advanced"
    )
    rotate_angle: float = setting(
        5.0,
        "Angle",
        "Random: at most so far to either side. Fixed: so far counter-clockwise.",
        ge=-180,
        le=180,
        unit="°",
        level="advanced",
        shown_if={"rotate": ["random", "fixed"]},
        also=("random_rotate_max_angle",),
    )
    brightness: Change = setting("off", "Brightness", "Makes it brighter or darker.", level="advanced")
    brightness_strength: float = _strength(
        "Brightness by", "brightness", "0.1: from 10 % darker to 10 % brighter; fixed: 10 % brighter, -0.1 darker."
    )
    contrast: Change = setting("off", "Contrast", "Strengthens or weakens the contrast.", level="advanced")
    contrast_strength: float = _strength("Contrast by", "contrast", "As for brightness.")
    saturation: Change = setting("off", "Saturation", "Makes colours stronger or paler.", level="advanced")
    saturation_strength: float = _strength("Saturation by", "saturation", "As for brightness.")
    hue: Change = setting("off", "Hue", "Shifts all colours around the colour circle.", level="advanced")
    hue_strength: float = _strength("Hue by", "hue", "As a share of the circle: 0.5 is the opposite colour.", 0.5)
    alpha_colour: str = setting(
        "#ffffff",
        "Behind transparent parts",
        "The colour that transparent parts are laid on.",
        pattern=r"^#[0-9a-fA-F]{6}$",
        level="advanced",
    )
    mask: Literal["off", "file", "alpha"] = setting(
        "off",
        "Mask",
        "What counts most in a picture. File: the white part of `cat-masklabel.png` beside `cat.png`. "
        "Alpha: what isn't transparent.",
        level="advanced",
        also=("masked_training", "alpha_mask", "conditioning_data_dir"),
    )
    unmasked_weight: float = setting(
        0.1,
        "Weight outside the mask",
        "How much what lies outside the mask counts; 0: not at all.",
        ge=0,
        le=1,
        level="advanced",
        shown_if={"mask": ["file", "alpha"]},
    )
    unmasked_probability: float = setting(
        0.1,
        "Shown without mask",
        "Share of the time in which a picture is shown as if it had no mask.",
        ge=0,
        le=1,
        level="advanced",
        shown_if={"mask": ["file", "alpha"]},
    )
    normalize_masked_area_loss: bool = setting(
        False,
        "Even out the masks' areas",
        "Pictures with a small mask count as much as those with a large one.",
        level="advanced",
        shown_if={"mask": ["file", "alpha"]},
    )
    conditioning: bool = setting(
        False,
        "Conditioning pictures",
        "For inpainting bases: what the model is shown is `cat-condlabel.png` beside `cat.png`. "
        "Off: the picture with its mask cut out.",
        level="advanced",
        also=("custom_conditioning_image",),
    )
    detail_crops: DetailCrops = setting(DetailCrops(), "Detail crops", "Tiles cut from large pictures.")

    @field_validator("flip", mode="before")
    @classmethod
    def _take_yes_and_no(cls, value: Any) -> Any:
        """Files of earlier versions have true and false."""
        return {True: "random", False: "off"}[value] if isinstance(value, bool) else value


class ConceptText(Settings):
    """What is done to a concept's captions."""

    prompt_source: Literal["caption_file", "file_name", "prompt_file", "metadata_file"] = setting(
        "caption_file",
        "Captions from",
        "A text file beside each picture; the picture's file name; one text file, of which each picture draws a line "
        "at random; or a metadata file as kohya's tools write it.",
    )
    prompt_path: str = setting(
        "",
        "Prompt file",
        "The text file with one caption in each line.",
        kind="file",
        shown_if={"prompt_source": ["prompt_file"]},
    )
    metadata_path: str = setting(
        "",
        "Metadata file",
        "The JSON file with `caption` and `tags` for each picture.",
        kind="file",
        shown_if={"prompt_source": ["metadata_file"]},
        also=("in_json", "metadata_file"),
    )
    caption_extension: str = setting(
        ".txt",
        "Caption files end in",
        "The caption of `cat.png` is read from `cat.txt`.",
        pattern=r"^\.\w+$",
        level="advanced",
        shown_if={"prompt_source": ["caption_file"]},
    )
    caption_lines: Literal["join", "in_turn", "random", "first"] = setting(
        "join",
        "Several lines",
        "What the lines of a caption are: one caption together; several, shown in turn or drawn at random; or only the "
        "first counts, as in kohya's trainer.",
        level="advanced",
        shown_if={"prompt_source": ["caption_file", "metadata_file"]},
    )
    prefix: str = setting(
        "", "Prefix", "Put in front of each caption, with the separator.", level="advanced", also=("caption_prefix",)
    )
    suffix: str = setting(
        "", "Suffix", "Put after each caption, with the separator.", level="advanced", also=("caption_suffix",)
    )
    separator: str = setting(
        ",",
        "Tag separator",
        "What stands between the tags of a caption.",
        min_length=1,
        level="advanced",
        also=("caption_separator",),
    )
    secondary_separator: str = setting(
        "",
        "Second separator",
        "Tags joined by it stay together when shuffled or dropped; then it becomes the tag separator.",
        level="advanced",
    )
    shuffle_tags: bool = setting(
        False,
        "Shuffle tags",
        "Each version of a caption has its tags in another order. For captions that are lists of tags.",
        also=("shuffle_caption", "enable_tag_shuffling"),
    )
    keep_tags: int = setting(
        0,
        "Tags kept in place",
        "This many tags at the start are never shuffled or dropped. The trigger word comes before them and is always "
        "kept.",
        ge=0,
        also=("keep_tokens", "keep_tags_count"),
    )
    keep_tags_separator: str = setting(
        "",
        "Separator of kept tags",
        "Where it stands in a caption, such as `|||`, the tags before it are kept, and those after a second one; their "
        "number above then doesn't count.",
        level="advanced",
        also=("keep_tokens_separator",),
    )
    tag_dropout: Literal["off", "full", "random", "random_weighted"] = setting(
        "off",
        "Drop tags",
        "Full: all loose tags at once. Random: each tag by itself. Weighted: the further back, the likelier.",
        level="advanced",
        also=("tag_dropout_enable", "caption_tag_dropout_rate"),
    )
    tag_dropout_probability: float = setting(
        0.1,
        "Share of tags dropped",
        "How likely a tag (or all of them) is dropped.",
        ge=0,
        le=1,
        level="advanced",
        shown_if={"tag_dropout": ["full", "random", "random_weighted"]},
    )
    tag_dropout_mode: Literal["all", "only", "never"] = setting(
        "all",
        "Which tags",
        "All; only those in the list; or all but those.",
        level="advanced",
        shown_if={"tag_dropout": ["full", "random", "random_weighted"]},
        also=("tag_dropout_special_tags_mode",),
    )
    tag_dropout_list: list[str] = setting(
        [],
        "Tags in the list",
        "Whole tags, or regular expressions if so chosen; one in each line.",
        kind="text",
        level="advanced",
        shown_if={"tag_dropout": ["full", "random", "random_weighted"], "tag_dropout_mode": ["only", "never"]},
        also=("tag_dropout_special_tags",),
    )
    tag_dropout_regex: bool = setting(
        False,
        "List of regular expressions",
        "A tag is in the list if the whole of it matches one of them.",
        level="advanced",
        shown_if={"tag_dropout": ["full", "random", "random_weighted"], "tag_dropout_mode": ["only", "never"]},
    )
    caption_dropout: float = setting(
        0.0,
        "Caption dropout",
        "Share of the time in which a picture is shown with no caption at all.",
        ge=0,
        le=1,
        level="advanced",
        also=("caption_dropout_rate", "dropout_probability"),
    )
    caps: list[Literal["upper", "lower", "title", "first"]] = setting(
        [],
        "Variations of capitals",
        "Any of upper, lower, title (Each Word), first (First word); one of them is drawn.",
        level="advanced",
        also=("caps_randomize_mode",),
    )
    caps_probability: float = setting(
        0.5,
        "Share with other capitals",
        "How likely a version of the caption is varied so.",
        ge=0,
        le=1,
        level="advanced",
        also=("caps_randomize_probability",),
    )
    wildcards: bool = setting(
        False,
        "Wildcards",
        "Of `{red|blue} coat` one is drawn. `{{` and `}}` stand for the brackets themselves.",
        level="advanced",
        also=("enable_wildcard",),
    )

    def check(self) -> Iterator[Problem]:
        if self.prompt_source == "prompt_file" and not self.prompt_path:
            yield Problem("prompt_path", "choose the text file with the captions")
        if self.prompt_source == "metadata_file" and not self.metadata_path:
            yield Problem("metadata_path", "choose the metadata file")
        yield from self._separator_problems()
        for pattern in self.tag_dropout_list if self.tag_dropout_regex else ():
            try:
                re.compile(pattern)
            except re.error as error:
                yield Problem("tag_dropout_list", f"{pattern!r} is no regular expression: {error}")

    def _separator_problems(self) -> Iterator[Problem]:
        if self.secondary_separator and self.separator in self.secondary_separator:
            yield Problem("secondary_separator", "must not hold the tag separator, which would part the tags; try ;;;")
        if self.keep_tags_separator and self.keep_tags_separator in (self.separator, self.secondary_separator):
            yield Problem("keep_tags_separator", "must differ from the other separators, such as |||")

    @property
    def varies(self) -> bool:
        """Whether the versions of one caption differ."""
        return self.shuffle_tags or self.tag_dropout != "off" or bool(self.caps) or self.wildcards


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

    _resolutions = field_validator("resolution", mode="before")(_resolutions_as_text)

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

    _resolutions = field_validator("resolution", mode="before")(_resolutions_as_text)

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
