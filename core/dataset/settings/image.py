"""The settings of a concept's pictures: how they are changed, their masks."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator

from core.dataset.settings.detail_crops import DetailCrops
from core.settings import Settings, setting

Change = Literal["off", "random", "fixed"]
"""A change of a picture: none, drawn for each version of it, or the same for all."""


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
    masked_prior_preservation_weight: float = setting(
        0.0,
        "Hold outside the mask",
        "How strongly the model is held, outside the mask, to what it said before training; that costs a second "
        "prediction. 0: not at all.",
        ge=0,
        le=100,
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
