"""The settings of a concept's captions: where they come from, and how they are varied."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from core.errors import Problem
from core.settings import Settings, setting

TEMPLATES = Path(__file__).parents[1] / "templates"
"""The shipped files of sentences for embeddings."""


class ConceptText(Settings):
    """What is done to a concept's captions."""

    prompt_source: Literal[
        "caption_file", "file_name", "prompt_file", "metadata_file", "subject_template", "style_template"
    ] = setting(
        "caption_file",
        "Captions from",
        "A text file beside each picture; the picture's file name; one text file, of which each picture draws a line "
        "at random; a metadata file as kohya's tools write it; or sentences such as `a photo of {trigger}` and "
        "`a painting in the style of {trigger}`, for an embedding.",
        also=("use_object_template", "use_style_template"),
    )
    prompt_path: str = setting(
        "",
        "Prompt file",
        "The text file with one caption in each line. `{trigger}` in a line is the trigger word's place (`{}` and "
        "`[name]` too, as in other trainers' templates).",
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
        "Any of upper, lower, title (Each Word), first (First word); one of them is drawn. CLIP, which SD 1.5 and SDXL "
        "have, reads all letters as small ones.",
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
    def lines_path(self) -> Path | None:
        """The file of which each picture draws a line; None where captions come from elsewhere."""
        if self.prompt_source == "prompt_file":
            return Path(self.prompt_path).expanduser()
        if self.prompt_source in ("subject_template", "style_template"):
            return TEMPLATES / f"{self.prompt_source.removesuffix('_template')}.txt"
        return None

    @property
    def varies(self) -> bool:
        """Whether the versions of one caption differ."""
        return self.shuffle_tags or self.tag_dropout != "off" or bool(self.caps) or self.wildcards
