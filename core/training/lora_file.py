"""Writes the LoRA: kohya's key names and metadata, so that ComfyUI, Forge, A1111 and diffusers load it."""

from __future__ import annotations

import glob
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from core.errors import TrainingError
from core.training.encoding import DTYPES
from core.training.events import Message
from core.training.metadata import file_metadata
from core.weights.files import kohya_hashes, write_safetensors

if TYPE_CHECKING:
    from core.training.loop import Progress
    from core.training.setup import Run

EMBEDDINGS = {"emb_params", "clip_l", "clip_g"}
"""The tensors of an embedding's file."""

FACTORS = (
    ("lora_up", "lora_down"), ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"), ("lokr_w1",), ("lokr_w2",),
    ("lokr_w1_a", "lokr_w1_b"), ("lokr_w2_a", "lokr_w2_b"), ("a1", "a2"), ("b1", "b2"),
    ("diff",), ("diff_b",), ("w_norm",), ("b_norm",), ("oft_blocks",), ("weight",),
)  # fmt: skip
"""Tensors of a layer's change that are multiplied with one another."""


def write_lora(run: Run, path: Path, progress: Progress) -> list[Path]:
    """Write the LoRA as it is now: all files that come of it, `path` first, where it is written.

    It isn't where there is nothing for it: embeddings alone have files of their own, which stand beside it else.
    TrainingError if a value is not finite; a message if it changes nothing.
    """
    metadata = file_metadata(run, progress)
    files = {path: run.network.export(run.lora_name)}
    for name, tensors in run.network.beside(run.lora_name).items():
        files[path.with_stem(f"{path.stem}_{name}")] = tensors
    for text in run.network.remarks():
        run.report(Message(text=text))
    written = {file: tensors for file, tensors in files.items() if tensors}
    for file, tensors in written.items():
        _write(run, file, tensors, metadata if file == path else beside_metadata(metadata, tensors))
    return list(written)


def _write(run: Run, path: Path, exported: dict[str, Tensor], metadata: dict[str, str]) -> None:
    dtype = DTYPES[run.config.saving.dtype]
    tensors = {name: tensor.to(dtype) for name, tensor in exported.items()}
    check_finite(exported, tensors, run.config.saving.dtype)
    if changes_nothing(tensors):
        run.report(Message(level="warning", text=f"{path.name} changes nothing: all of its updates are zero."))
    metadata = metadata | kohya_hashes(tensors, metadata)
    metadata["modelspec.hash_sha256"] = f"0x{metadata['sshs_model_hash']}"  # of the same bytes: what follows the header
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*.part"):  # of a run that was killed while it saved
        partial.unlink(missing_ok=True)
    write_safetensors(path, tensors, metadata, overwrite=True)  # what must not be replaced was checked before the start


def beside_metadata(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """What a further file tells of itself: as the LoRA's, but for what kind of network is in it."""
    network = ("ss_network_module", "ss_network_dim", "ss_network_alpha", "ss_network_dropout", "ss_network_args")
    told = {name: text for name, text in metadata.items() if name not in network}
    if tensors.keys() <= EMBEDDINGS:
        base = told["modelspec.architecture"].partition("/")[0]
        return told | {"modelspec.architecture": f"{base}/textual-inversion"}
    ranks = {len(tensor) for name, tensor in tensors.items() if name.endswith(".lora_down.weight")}
    alphas = {float(tensor) for name, tensor in tensors.items() if name.endswith(".alpha")}
    return told | {
        "ss_network_module": "networks.lora",
        "ss_network_dim": _one_of(ranks),
        "ss_network_alpha": _one_of(alphas),
        "ss_network_args": "{}",
    }


def _one_of(values: Collection[float]) -> str:
    """The one that all layers have; else what kohya's tool says that makes LoRAs smaller."""
    return str(next(iter(values))) if len(values) == 1 else "Dynamic"


def changes_nothing(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a LoRA leaves every layer as it is: in each product of tensors one is zero."""
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        layer, _, suffix = name.partition(".")
        layers.setdefault(layer, {})[suffix.removesuffix(".weight")] = tensor
    return all(map(_is_nothing, layers.values()))


def _is_nothing(layer: Mapping[str, Tensor]) -> bool:
    known = {name for factors in FACTORS for name in factors}
    if {"dora_scale", "rescale"} & layer.keys() or not known & layer.keys():  # they alone change it; an embedding
        return False
    lokr = [[name for name in layer if name.startswith(side)] for side in ("lokr_w1", "lokr_w2")]
    if all(lokr):  # a product of two, each of which may be one
        return any(not layer[name].any() for side in lokr for name in side)
    products = [[layer[name] for name in factors if name in layer] for factors in FACTORS]
    return all(any(not factor.any() for factor in product) for product in products if product)


def check_finite(exact: dict[str, Tensor], saved: dict[str, Tensor], dtype: str) -> None:
    """TrainingError if a tensor holds a value that is not finite, as trained or as it would be saved."""
    for name, tensor in saved.items():
        if torch.isfinite(tensor).all():
            continue
        if torch.isfinite(exact[name]).all():
            raise TrainingError(
                f"The LoRA can't be saved as {dtype}: {name} is too large for it.",
                do="Choose bf16 or fp32 as number format, and start the run again: it goes on from its backup.",
            )
        raise TrainingError(
            f"The LoRA is broken: {name} holds values that are not finite. It was not saved.",
            do="Lower the learning rate and start anew.",
        )
