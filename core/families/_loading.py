"""Builds the parts of Stable Diffusion models (UNet, VAE, CLIP text encoders, tokenizers) from files and folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.contracts import Part
from core.errors import ModelFileError
from core.weights.clip_tokenizer import clip_tokenizer
from core.weights.diffusers_folders import weights_files

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import CLIPTokenizer

FOLDERS: Mapping[Part, str] = {
    "denoiser": "unet",
    "vae": "vae",
    "text_1": "text_encoder",
    "text_2": "text_encoder_2",
}
"""Part -> its folder in diffusers' layout."""

TOKENIZERS: Mapping[Part, str] = {"text_1": "tokenizer", "text_2": "tokenizer_2"}

LABELS: Mapping[Part, str] = {
    "denoiser": "UNet",
    "vae": "VAE",
    "text_1": "text encoder",
    "text_2": "second text encoder",
}

# A text encoder's file may have the projection that only the second one here uses.
_SPARE = ("text_projection.weight",)


def load_part(source: Path, part: Part, family: str, configs: Path, dtype: torch.dtype) -> nn.Module:
    """One part of a single-file checkpoint (built after `configs`, a diffusers folder's) or of a diffusers folder."""
    if source.is_dir():
        return load_from_folder(source / FOLDERS[part], part, dtype)
    from core.weights.files import open_tensors
    from core.weights.layouts import read_part

    with open_tensors(source) as reader:
        state = read_part(reader, part, family)
        return assemble(part, configs / FOLDERS[part], state, dtype, source, _input_channels(state))


def load_from_folder(folder: Path, part: Part, dtype: torch.dtype) -> nn.Module:
    """A part from its own diffusers folder: config.json and weights."""
    from core.weights.files import open_tensors
    from core.weights.layouts import read_vae

    state: dict[str, Tensor] = {}
    for path in _weights_in(folder, part):
        with open_tensors(path) as reader:
            # Old folders have other names in the VAE's attention.
            state |= read_vae(reader) if part == "vae" else {key: reader.read(key) for key in reader.keys()}  # noqa: SIM118
    return assemble(part, folder, state, dtype, folder)


def check_folder(source: Path, parts: Sequence[Part]) -> None:
    """ModelFileError if the weights of a part are missing from a diffusers folder, or are not whole. Reads headers."""
    from core.weights.header import read_header

    for part in parts:
        for path in _weights_in(source / FOLDERS[part], part):
            read_header(path)


def _weights_in(folder: Path, part: Part) -> list[Path]:
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    files = weights_files(names)
    if "config.json" not in names or not files:
        missing = "weights" if "config.json" in names else "config.json"
        raise ModelFileError(
            f"The {LABELS[part]} is missing: there are no {missing} in {folder}.",
            "Its download may have broken off.",
            "Download the model again.",
        )
    return [folder / name for name in files]


def load_vae_file(source: Path, configs: Path, dtype: torch.dtype) -> nn.Module:
    """A VAE from a file of its own, or from a whole checkpoint."""
    from core.weights.files import open_tensors
    from core.weights.layouts import read_vae

    with open_tensors(source) as reader:
        return assemble("vae", configs / FOLDERS["vae"], read_vae(reader), dtype, source)


def _input_channels(state: Mapping[str, Tensor]) -> dict[str, int]:
    """What a UNet's weights say of its input: an inpainting model's has more channels than the configs say."""
    return {"in_channels": state["conv_in.weight"].shape[1]} if "conv_in.weight" in state else {}


def assemble(
    part: Part,
    config: Path,
    state: dict[str, Tensor],
    dtype: torch.dtype,
    source: Path,
    changes: Mapping[str, Any] | None = None,
) -> nn.Module:
    """A frozen module after a config folder, with the tensors of `state` (which is emptied) as its weights.

    No memory is taken for weights that would be overwritten. changes: what is other than in the config.
    ModelFileError, naming `source`, if they don't fit.
    """
    from core.weights.layouts import fit_clip_names
    from core.weights.layouts.clip import canonical_clip_names

    module = build_part(part, config, changes).eval().requires_grad_(False)
    expected = module.state_dict()
    if part.startswith("text_"):
        fitted = fit_clip_names(canonical_clip_names(state), expected)
        state.clear()
        state |= {name: tensor for name, tensor in fitted.items() if name in expected or name not in _SPARE}
        del fitted
    _check_fit(part, expected, state, source)
    converted = {name: state.pop(name).to(dtype) for name in list(state)}  # one by one, so that each can leave
    module.load_state_dict(converted, assign=True)
    return module


def build_part(part: Part, config: Path, changes: Mapping[str, Any] | None = None) -> nn.Module:
    """A part after its config folder, with changes; parameters are on the meta device, buffers are real."""
    from accelerate import init_empty_weights

    # Buffers (CLIP's position numbers) aren't in files, so they must be real from the start.
    with init_empty_weights(include_buffers=False):
        return BUILDERS[part](json.loads((config / "config.json").read_text(encoding="utf-8")) | (changes or {}))


def _unet(config: dict[str, Any]) -> nn.Module:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    return UNet2DConditionModel.from_config(config)  # type: ignore[return-value]


def _vae(config: dict[str, Any]) -> nn.Module:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    return AutoencoderKL.from_config(config)  # type: ignore[return-value]


def _text(config: dict[str, Any]) -> nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(CLIPTextConfig.from_dict(config))


def _projected_text(config: dict[str, Any]) -> nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    return CLIPTextModelWithProjection(CLIPTextConfig.from_dict(config))


BUILDERS: Mapping[Part, Callable[[dict[str, Any]], nn.Module]] = {
    "denoiser": _unet,
    "vae": _vae,
    "text_1": _text,
    "text_2": _projected_text,
}


def load_tokenizer(source: Path, part: Part) -> CLIPTokenizer:
    """A text part's tokenizer: the folder's own, or CLIP's."""
    from transformers import CLIPTokenizer

    folder = source / TOKENIZERS[part]
    if not folder.is_dir():
        return clip_tokenizer("!" if part == "text_2" else "<|endoftext|>")
    try:
        return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelFileError(f"The tokenizer in {folder} can't be read.", f"{error}.", "Download it again.") from error


def noise_schedule(source: Path, configs: Path) -> dict[str, Any]:
    """The scheduler config of a diffusers folder, or of the shipped configs."""
    own = source / "scheduler" / "scheduler_config.json"
    path = own if own.is_file() else configs / "scheduler" / "scheduler_config.json"
    return json.loads(path.read_text(encoding="utf-8"))


def _check_fit(part: Part, expected: Mapping[str, Tensor], state: Mapping[str, Tensor], source: Path) -> None:
    """ModelFileError if names or shapes differ."""
    missing, spare = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    sizes = [name for name in expected if name in state and expected[name].shape != state[name].shape]
    if not (missing or spare or sizes):
        return
    reasons = []
    if missing:
        reasons.append(f"{len(missing)} of its {len(expected)} weights are missing ({missing[0]} ...).")
    if spare:
        reasons.append(f"It has {len(spare)} weights that don't belong there ({spare[0]} ...).")
    if sizes:
        found, wanted = tuple(state[sizes[0]].shape), tuple(expected[sizes[0]].shape)
        reasons.append(f"{len(sizes)} have another size ({sizes[0]}: {found} instead of {wanted}).")
    raise ModelFileError(
        f"The {LABELS[part]} in {source} doesn't fit its kind of model.",
        " ".join(reasons),
        "The file is damaged, or made for a changed model. Download it again, or choose another.",
    )
