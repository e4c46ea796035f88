"""Whole checkpoints in one file, in the original layout: reads their parts under diffusers' names, and writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from core.contracts import Part
from core.errors import ModelFileError
from core.weights.layouts.layout import layout_of
from core.weights.layouts.vae import vae_to_diffusers

if TYPE_CHECKING:
    from torch import Tensor

    from core.weights.files import TensorReader

# A VAE's own file may have no prefix, or the training's loss network beside it.
_VAE_BEGINNINGS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")


def parts_in(names: Sequence[str], family: str) -> list[Part]:
    """The family's parts that a file with these tensor names has."""
    return [part for part, layout in layout_of(family).items() if any(name.startswith(layout.prefix) for name in names)]


def read_part(reader: TensorReader, part: Part, family: str) -> dict[str, Tensor]:
    """Read one part of a single-file checkpoint, under diffusers' (or transformers') names, in the file's dtypes.

    Text encoders' names begin with `text_model.`; `fit_clip_names` adapts them to the installed transformers.
    The UNet may be of any size: what its names depend on is read from them.
    Raises ModelFileError where the file has no such part.
    """
    layout = layout_of(family)[part]
    keys = [key for key in reader.keys() if key.startswith(layout.prefix)]  # noqa: SIM118 - a reader is no mapping
    if part == "vae":
        keys = [key for key in keys if key.removeprefix(layout.prefix).startswith(_VAE_BEGINNINGS)]
    if not keys:
        raise ModelFileError(
            f"There is no {_LABELS[part]} in {reader.header.path}.",
            "It holds only a part of a model, or a model of another kind.",
            "Choose a whole checkpoint.",
        )
    return layout.to_diffusers({key.removeprefix(layout.prefix): reader.read(key) for key in keys})


def read_vae(reader: TensorReader) -> dict[str, Tensor]:
    """Read a VAE from a file of its own, or from a whole checkpoint: original names or diffusers', new or old."""
    prefix = "first_stage_model."
    found = {key: key.removeprefix(prefix) for key in reader.keys()}  # noqa: SIM118 - a reader is no mapping
    state = {name: reader.read(key) for key, name in found.items() if name.startswith(_VAE_BEGINNINGS)}
    if not state:
        raise ModelFileError(f"There is no {_LABELS['vae']} in {reader.header.path}.", do="Choose another file.")
    return vae_to_diffusers(state)


def split_single_file(reader: TensorReader, family: str) -> dict[Part, dict[str, Tensor]]:
    """Read all parts that a single-file checkpoint has; see `read_part`, which needs less memory at a time."""
    return {part: read_part(reader, part, family) for part in parts_in(list(reader.keys()), family)}


def join_single_file(parts: Mapping[Part, Mapping[str, Tensor]], family: str) -> dict[str, Tensor]:
    """The tensors of a single-file checkpoint in the original layout, from parts under diffusers' names."""
    layout = layout_of(family)
    return {
        layout[part].prefix + name: tensor
        for part, state in parts.items()
        for name, tensor in layout[part].to_original(state).items()
    }


_LABELS = {"denoiser": "UNet", "vae": "VAE", "text_1": "text encoder", "text_2": "second text encoder"}
