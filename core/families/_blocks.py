"""The blocks of a UNet and of a text encoder, under the names that merging programs and LoRA loaders give them.

`IN00` to `OUT11`, with `MID` between, count LDM's `input_blocks`, `middle_block` and `output_blocks` (kohya's
`block_dims`, MBW merging, supermerger, LoRA Block Weight). What stands outside of them is `BASE`.
"""

from __future__ import annotations

from collections.abc import Mapping

BASE = "BASE"
"""The block of what is in no other one: time embedding and output of a UNet, embeddings and last norm of an encoder."""

_RESNETS = 2
"""Resnets of a down block; an up block has one more."""


def unet_blocks(levels: int) -> Mapping[str, str]:
    """Block -> regular expression over the paths of diffusers' UNet2DConditionModel with so many levels.

    In a down block each resnet with its attention is a block of its own, and the downsampler after them another one;
    in an up block the upsampler belongs to the last resnet (LDM, `openaimodel.py`).
    """
    inputs = [r"^conv_in$"]
    outputs = []
    for level in range(levels):
        inputs += [rf"^down_blocks\.{level}\.(resnets|attentions)\.{layer}\." for layer in range(_RESNETS)]
        inputs.append(rf"^down_blocks\.{level}\.downsamplers\.")
        outputs += [rf"^up_blocks\.{level}\.(resnets|attentions)\.{layer}\." for layer in range(_RESNETS)]
        outputs.append(rf"^up_blocks\.{level}\.((resnets|attentions)\.{_RESNETS}|upsamplers)\.")
    del inputs[-1]  # the last level has no downsampler
    blocks = {f"IN{place:02}": pattern for place, pattern in enumerate(inputs)}
    blocks["MID"] = r"^mid_block\."
    blocks |= {f"OUT{place:02}": pattern for place, pattern in enumerate(outputs)}
    return blocks | {BASE: r"^(?!conv_in$|down_blocks\.|mid_block\.|up_blocks\.)"}


def clip_blocks(layers: int) -> Mapping[str, str]:
    """Block -> regular expression over the paths of a CLIP text encoder with so many layers."""
    blocks = {f"TE{layer:02}": rf"(^|\.)encoder\.layers\.{layer}\." for layer in range(layers)}
    return blocks | {BASE: r"^(?!(text_model\.)?encoder\.layers\.)"}
