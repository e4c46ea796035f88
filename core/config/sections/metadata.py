"""What the LoRA's file tells of itself, and the model card beside it."""

from __future__ import annotations

from typing import ClassVar, Literal

from core.settings import Settings, setting

OFF, LAST_SAMPLE = "off", "last sample"


class Metadata(Settings):
    """What the LoRA's file tells of itself, and the model card beside it."""

    COVERS: ClassVar[tuple[str, ...]] = (OFF, LAST_SAMPLE)

    title: str = setting(
        "", "Title", "Shown by programs and sites. Empty: the file's name.", affects="files", also=("metadata_title",)
    )
    author: str = setting("", "Author", "Who made it.", affects="files", also=("metadata_author",))
    description: str = setting(
        "", "Description", "What it is of.", kind="text", affects="files", also=("metadata_description",)
    )
    license: str = setting(
        "",
        "License",
        "Under which others may use it: `openrail++`, `cc-by-4.0`, `other` ... The base model's license binds too.",
        affects="files",
        also=("metadata_license",),
    )
    tags: str = setting(
        "", "Tags", "Words to find it by, with commas between them.", affects="files", also=("metadata_tags",)
    )
    trigger_phrase: str = setting(
        "",
        "Trigger phrase",
        "What to write in a prompt. Empty: the concepts' trigger words.",
        affects="files",
        level="advanced",
        also=("metadata_trigger_phrase",),
    )
    usage_hint: str = setting(
        "",
        "How to use it",
        "A hint for those who use it, such as a good strength.",
        affects="files",
        level="advanced",
        also=("metadata_usage_hint",),
    )
    comment: str = setting(
        "", "Comment", "A note of your own.", affects="files", level="advanced", also=("training_comment",)
    )
    cover: str = setting(
        OFF,
        "Cover picture",
        "Kept small inside the file, for programs that show one: `off`, `last sample` (the first one of the latest "
        "samples), or the path of a picture.",
        choices=(OFF, LAST_SAMPLE),
        affects="files",
        level="advanced",
        also=("metadata_thumbnail",),
    )
    include_config: Literal["none", "settings", "all"] = setting(
        "none",
        "Put the config into the file",
        "settings: all but the concepts and every path. all: the whole run.toml. The same run can be made from it.",
        affects="files",
        level="advanced",
        also=("include_train_config",),
    )
    minimal: bool = setting(
        False,
        "Only what is needed",
        "Tells nothing of pictures, captions and training; only what programs need to load the file.",
        affects="files",
        level="advanced",
        also=("no_metadata",),
    )
    model_card: bool = setting(
        False,
        "Model card",
        "Writes a README.md for the Hugging Face hub beside the result, with the last samples in a folder `images`.",
        affects="files",
    )
