"""The model that training starts from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from core.errors import Problem
from core.settings import Settings, setting


class BaseLora(Settings):
    """A LoRA that is part of the base."""

    file: str = setting("", "File", "The LoRA: a .safetensors file.", kind="file", also=("base_weights",))
    strength: float = setting(
        1.0, "Strength", "What its change is multiplied by.", ge=-10, le=10, also=("base_weights_multiplier",)
    )

    def check(self) -> Iterator[Problem]:
        if not self.file:
            yield Problem("file", "choose a LoRA, or take this entry out")
        if not self.strength:
            yield Problem("strength", "is 0, so that the LoRA changes nothing; take it out")


class Base(Settings):
    """The model that training starts from."""

    source: str = setting(
        "",
        "Base model",
        "A .safetensors or .ckpt file, a diffusers folder, a hub name (owner/name), or a backup of an earlier run.",
        kind="path",
        also=("pretrained_model_name_or_path", "base_model_name"),
    )
    family: str = setting(
        "detect",
        "Family",
        "What kind of model it is. `detect` reads it from the file.",
        choices=("detect",),
        also=("model_type", "v2", "sdxl"),
    )
    prediction: Literal["detect", "epsilon", "v_prediction"] = setting(
        "detect",
        "Prediction",
        "What the model predicts. `detect` reads it from the file, and takes epsilon where the file doesn't say.",
        level="advanced",
        also=("v_parameterization",),
    )
    zero_terminal_snr: Literal["detect", "yes", "no"] = setting(
        "detect",
        "Zero terminal SNR",
        "Whether the last time is pure noise, as for most v-prediction models.",
        level="advanced",
        also=("zero_terminal_snr", "rescale_noise_scheduler_to_zero_terminal_snr"),
    )
    vae: str = setting(
        "", "Other VAE", "A VAE to use in place of the base's own: a file or a folder.", kind="path", level="advanced"
    )
    clip_skip: int = setting(
        1,
        "CLIP skip",
        "SD 1.5 only: which of the text encoder's last layers is used; 1 is the last, 2 is usual for anime models.",
        ge=1,
        le=11,
        level="advanced",
    )
    max_token_length: Literal[75, 150, 225] = setting(
        75,
        "Tokens of a caption",
        "Longer captions are cut off. 150 and 225 encode them in pieces of 75, as kohya's trainer does.",
        unit="tokens",
        level="advanced",
    )
    weighted_prompts: bool = setting(
        False,
        "Weighted captions",
        "`(red coat:1.3)` in a caption counts more, `[hat]` less, as in Forge. Off: the brackets are text.",
        level="advanced",
        also=("weighted_captions",),
    )
    loras: list[BaseLora] = setting(
        [],
        "LoRAs in the base",
        "Added to the base model's weights before training. What is trained then works beside them, not without them.",
        level="advanced",
    )
