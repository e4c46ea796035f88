"""The settings of detail crops: tiles cut from large pictures, and their captions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from core.errors import Problem
from core.settings import Settings, setting

PROMPT = "Name what this detail of a larger picture shows, in one line of plain words or tags."


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
