"""The names of a UNet's modules in diffusers, and in the original files of Stable Diffusion (LDM) and SDXL (SGM)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.weights.layouts.renaming import inverse, renamed

if TYPE_CHECKING:
    from torch import Tensor

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}

OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


@dataclass(frozen=True)
class UNetShape:
    """What the original names depend on.

    levels: resolutions, each a down block and an up block of diffusers.
    layers: resnets in each down block; an up block has one more.
    attended: the up blocks that have attention.
    """

    levels: int
    layers: int
    attended: frozenset[int]

    @classmethod
    def of_diffusers(cls, names: Collection[str]) -> UNetShape:
        """From all the names of a UNet in diffusers (modules, or tensors)."""
        levels = 1 + _largest(r"up_blocks\.(\d+)\.", names)
        layers = 1 + _largest(r"down_blocks\.0\.resnets\.(\d+)", names)
        found = (re.match(r"up_blocks\.(\d+)\.attentions\.", name) for name in names)
        return cls(levels, layers, frozenset(int(match[1]) for match in found if match))

    @classmethod
    def of_original(cls, names: Collection[str]) -> UNetShape:
        """From all the names of a UNet in an original file, without their prefix."""
        blocks = 1 + _largest(r"output_blocks\.(\d+)\.", names)
        downsamplers = [int(match[1]) for name in names if (match := re.match(r"input_blocks\.(\d+)\.0\.op\.", name))]
        layers = min(downsamplers, default=blocks) - 1
        levels = blocks // (layers + 1)
        present = {".".join(name.split(".")[:4]) for name in names}
        attended = {i for i in range(levels) if f"output_blocks.{i * (layers + 1)}.1.norm" in present}
        return cls(levels, layers, frozenset(attended))


def unet_names(shape: UNetShape) -> dict[str, str]:
    """Module path in diffusers -> in the original; what lies inside an attention is called the same in both."""
    return {**OUTSIDE, **dict(_blocks(shape))}


def unet_to_diffusers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A UNet's tensors under diffusers' names, from the original names without their prefix."""
    names = inverse(unet_names(UNetShape.of_original(state)))
    return {renamed(name, names): tensor for name, tensor in state.items()}


def unet_to_original(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A UNet's tensors under the original names, from diffusers'."""
    names = unet_names(UNetShape.of_diffusers(state))
    return {renamed(name, names): tensor for name, tensor in state.items()}


def _blocks(shape: UNetShape) -> Iterator[tuple[str, str]]:
    step = shape.layers + 1
    for level in range(shape.levels):
        for layer in range(shape.layers):
            down, original = f"down_blocks.{level}", f"input_blocks.{1 + level * step + layer}"
            yield from _resnet(f"{down}.resnets.{layer}", f"{original}.0")
            yield f"{down}.attentions.{layer}", f"{original}.1"
        yield f"down_blocks.{level}.downsamplers.0.conv", f"input_blocks.{(level + 1) * step}.0.op"
        for layer in range(step):
            up, original = f"up_blocks.{level}", f"output_blocks.{level * step + layer}"
            yield from _resnet(f"{up}.resnets.{layer}", f"{original}.0")
            if level in shape.attended:
                yield f"{up}.attentions.{layer}", f"{original}.1"
        # The upsampler comes after the last layer's attention, and moves up where there is none.
        place = 2 if level in shape.attended else 1
        yield f"up_blocks.{level}.upsamplers.0.conv", f"output_blocks.{level * step + shape.layers}.{place}.conv"
    yield from _resnet("mid_block.resnets.0", "middle_block.0")
    yield "mid_block.attentions.0", "middle_block.1"
    yield from _resnet("mid_block.resnets.1", "middle_block.2")


def _resnet(diffusers: str, original: str) -> Iterator[tuple[str, str]]:
    for ours, theirs in RESNET.items():
        yield f"{diffusers}.{ours}", f"{original}.{theirs}"


def _largest(pattern: str, names: Collection[str]) -> int:
    """The largest number that the pattern finds, or -1."""
    return max((int(match[1]) for name in names if (match := re.match(pattern, name))), default=-1)
