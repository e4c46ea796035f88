"""The names of a Stable Diffusion VAE's modules in diffusers and in original files, and the shape of its attention."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from core.weights.layouts.renaming import inverse, renamed

if TYPE_CHECKING:
    from torch import Tensor

ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}

# What diffusers called the same modules before version 0.17; files of that time are still about.
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}

_PROJECTION = re.compile(r"mid_block\.attentions\.\d+\.to_(q|k|v|out\.0)\.weight$")


def vae_names(levels: int) -> dict[str, str]:
    """Module path in diffusers -> in the original, for a VAE of so many resolutions."""
    return dict(_modules(levels))


def vae_to_diffusers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A VAE's tensors under diffusers' names, from original names or from diffusers' own, new or old.

    The attention's weights become matrices (C C), which original files have as convolutions (C C 1 1).
    """
    if any(name.startswith("encoder.down_blocks.") for name in state):
        table = {f"{block}.mid_block.attentions.0.{old}": f"{block}.mid_block.attentions.0.{new}"
                 for block in ("encoder", "decoder") for old, new in OLD_ATTENTION.items()}  # fmt: skip
    else:
        table = inverse(vae_names(_levels(state, r"decoder\.up\.(\d+)\.")))
    result = {}
    for name, tensor in state.items():
        name = renamed(name, table).replace("nin_shortcut", "conv_shortcut")
        result[name] = tensor.reshape(tensor.shape[:2]) if _PROJECTION.search(name) else tensor
    return result


def vae_to_original(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A VAE's tensors under the original names, from diffusers'; the attention's weights become convolutions."""
    table = vae_names(_levels(state, r"decoder\.up_blocks\.(\d+)\."))
    result = {}
    for name, tensor in state.items():
        original = renamed(name, table).replace("conv_shortcut", "nin_shortcut")
        result[original] = tensor[:, :, None, None] if _PROJECTION.search(name) else tensor
    return result


def _levels(names: Collection[str], pattern: str) -> int:
    return 1 + max((int(match[1]) for name in names if (match := re.match(pattern, name))), default=-1)


def _modules(levels: int) -> Iterator[tuple[str, str]]:
    for half, coarse, fine in (("encoder", "down", "downsample"), ("decoder", "up", "upsample")):
        yield f"{half}.conv_norm_out", f"{half}.norm_out"
        for level in range(levels):
            # The original counts its decoder's blocks from the finest on, diffusers in the order in which they run.
            original = f"{half}.{coarse}.{level if half == 'encoder' else levels - 1 - level}"
            block = f"{half}.{coarse}_blocks.{level}"
            yield f"{block}.{fine}rs.0.conv", f"{original}.{fine}.conv"
            yield f"{block}.resnets", f"{original}.block"
        for layer in range(2):
            yield f"{half}.mid_block.resnets.{layer}", f"{half}.mid.block_{layer + 1}"
        for ours, theirs in ATTENTION.items():
            yield f"{half}.mid_block.attentions.0.{ours}", f"{half}.mid.attn_1.{theirs}"
