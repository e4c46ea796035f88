"""Averages the LoRAs that a run saved on its way: an EMA of its weights, chosen after the run.

Karras et al. 2024 ("Analyzing and Improving the Training Dynamics of Diffusion Models", section 3.1) weight the weights
of each moment t of a run by t^γ; the average's relative width says how far it reaches back. They rebuild it from
averages that were kept on the way; here the saved files stand for the steps up to them.

What a LoRA changes is a product of two matrices, and the average of products is no product of averages. musubi-tuner
averages the matrices (`how="factors"` does the same); here the changes themselves are averaged: the matrices of all
files side by side hold them exactly, and their singular values tell the nearest change of any rank.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from core.contracts import Header
from core.errors import OchreError
from core.weights.files import TensorReader, kohya_hashes, open_tensors, write_safetensors
from core.weights.header import read_header

if TYPE_CHECKING:
    import torch
    from torch import Tensor

How = Literal["changes", "factors"]

WIDEST = 1 / math.sqrt(12)
"""The relative width of a plain mean over the whole run (γ = 0)."""

FACTORS = (("lora_up.weight", "lora_down.weight"), ("lora_B.weight", "lora_A.weight"))
"""What the two matrices of a LoRA's change are called: up and down."""

LINEAR = {"diff", "diff_b", "w_norm", "b_norm", "weight", "on_input", "emb_params", "clip_l", "clip_g"}
"""Tensors by which a layer is changed as they are: their average is the average of the changes."""

_WORDS = "bundle_emb"
"""What the names of embeddings within a LoRA's file begin with."""

_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}

_MOMENT = re.compile(r"-(?:\d+|step\d+)(?=$|-no-ema|_)")
"""Where a file's name says after which epoch or step it was saved."""


@dataclass(frozen=True)
class Saved:
    """A saved LoRA. step: of the run that it was saved after, as its metadata tell; None if they don't."""

    path: Path
    step: int | None
    header: Header


@dataclass(frozen=True)
class Averaged:
    """path: the file. weights: of each file that went into it. kept: of each layer's change, the share of its norm."""

    path: Path
    weights: dict[str, float]
    kept: dict[str, float]


# -- weights


def exponent(width: float) -> float:
    """γ of a relative width: the root of γ³ + 7γ² + (16 - 1/σ²)γ + 12 - 1/σ² (algorithm 2), from σ² of equation 3.

    σ² = (γ + 1) / ((γ + 2)² (γ + 3)) falls as γ grows. OchreError for a width that no γ has.
    """
    if not 0 < width <= WIDEST:
        raise OchreError(f"The width must be above 0 and at most {WIDEST:.4f} (it is {width:g}).")
    low, high = 0.0, 4.0 / width
    for _ in range(200):
        middle = (low + high) / 2
        wider = (middle + 1) / ((middle + 2) ** 2 * (middle + 3)) > width**2
        low, high = (middle, high) if wider else (low, middle)
    return (low + high) / 2


def power_weights(steps: Sequence[int], width: float) -> list[float]:
    """The weight of each file, whose sum is 1: the share of ∫ t^γ dt from the file before it to its own step.

    For files at equal distances these are the weights that β(t) = (1 - 1/t)^(γ + 1) leaves (equation 2).
    """
    power, last = exponent(width) + 1, steps[-1]
    reached = [0.0, *((step / last) ** power for step in steps)]
    return [after - before for before, after in itertools.pairwise(reached)]


def decay_weights(count: int, decay: float) -> list[float]:
    """The weights that an EMA with a fixed decay from file to file leaves; it begins as the first. Their sum is 1."""
    if not 0 <= decay < 1:
        raise OchreError(f"The decay must be at least 0 and below 1 (it is {decay:g}).")
    return [(1.0 if place == 0 else 1 - decay) * decay ** (count - 1 - place) for place in range(count)]


# -- files


def saved_by_run(folder: Path, name: str) -> list[Saved]:
    """The LoRAs that a run saved under a name, in the order of their steps: epochs', steps' and the result.

    OchreError if there are none, or if a file is damaged.
    """
    if not folder.is_dir():
        raise OchreError(f"There is no folder {folder}.", do="Give the folder that the run saved its LoRAs in.")
    paths = [path for path in folder.glob("*.safetensors") if name in _runs_names(path.stem)]
    if not paths:
        others = sorted({min(_runs_names(path.stem), key=len) for path in folder.glob("*.safetensors")})
        there = f"There are {', '.join(others)}." if others else "There are no .safetensors files at all."
        raise OchreError(f"{folder} holds no LoRA called {name}.", there)
    return in_order([saved(path) for path in paths])


def _runs_names(stem: str) -> set[str]:
    """What the result of the run may be called that saved a file of this name."""
    return {stem, *(stem[: found.start()] + stem[found.end() :] for found in _MOMENT.finditer(stem))}


def saved(path: Path) -> Saved:
    """A file, and the step that it tells. OchreError if it can't be read."""
    header = read_header(path)
    told = header.metadata.get("ss_steps", "")
    return Saved(path, int(told) if told.isdecimal() else None, header)


def in_order(files: Sequence[Saved]) -> list[Saved]:
    """The files in the order of their steps. OchreError if one doesn't tell its step, or two are of one step."""
    silent = [one.path.name for one in files if one.step is None]
    if silent:
        raise OchreError(
            f"{silent[0]} doesn't tell after which step it was saved.",
            "Its metadata have no ss_steps.",
            "Give the files one by one, in their order, and say that they lie at equal distances.",
        )
    ordered = sorted(files, key=lambda one: one.step or 0)
    for before, after in itertools.pairwise(ordered):
        if before.step == after.step:
            message = f"{before.path.name} and {after.path.name} are both of step {after.step}."
            raise OchreError(message, do="Leave one of them out.")
    return ordered


def check_alike(files: Sequence[Saved]) -> None:
    """OchreError if the files aren't of one run: another base, another network, other layers."""
    if len(files) < 2:
        raise OchreError("There is only one file: an average needs two.", do="Let the run save more often.")
    first = files[0]
    for other in files[1:]:
        for name in ("ss_base_model_version", "ss_new_sd_model_hash", "ss_network_module", "modelspec.architecture"):
            one, two = first.header.metadata.get(name), other.header.metadata.get(name)
            if one and two and one != two:
                message = f"{first.path.name} and {other.path.name} don't belong together."
                raise OchreError(message, f"{name} is {one} in the one and {two} in the other.")
        odd = sorted(
            name
            for name in first.header.tensors.keys() | other.header.tensors.keys()
            if _shape(first, name) != _shape(other, name)
        )
        if odd:
            raise OchreError(
                f"{first.path.name} and {other.path.name} don't belong together.",
                f"{odd[0]} is {_shape(first, odd[0])} in the one and {_shape(other, odd[0])} in the other"
                + (f", and {len(odd) - 1} more tensors differ." if len(odd) > 1 else "."),
            )


def _shape(one: Saved, name: str) -> str:
    info = one.header.tensors.get(name)
    return "missing" if info is None else "x".join(map(str, info.shape)) or "a number"


# -- the average


def average(
    files: Sequence[Saved],
    weights: Sequence[float],
    output: Path,
    *,
    how: How = "changes",
    rank: int | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Averaged:
    """Average files of one run layer by layer, of which only one is in memory at a time, and write the result.

    weights: of each file; their sum is 1. how: see the module. rank: of the result's layers at most; 0: as many as hold
    the average exactly; None: the files' own. Numbers are summed up in fp64 and written in the last file's format.
    OchreError if the files don't belong together or hold what has no such average, or if there is a file already.
    """
    check_alike(files)
    if output.exists() and not overwrite:
        raise OchreError(f"{output} exists already.", do="Choose another name, or allow that it is replaced.")
    layers = _layers(files[-1].header)
    if how == "changes":
        _check_kinds(files[-1], layers)
    tensors: dict[str, Tensor] = {}
    kept: dict[str, float] = {}
    with ExitStack() as stack:
        readers = [stack.enter_context(open_tensors(one.path)) for one in files]
        for done, (layer, names) in enumerate(layers.items()):
            progress(done, len(layers))
            pair = _pair(names) if how == "changes" else None
            if pair:
                made, kept[layer] = _change(readers, weights, layer, pair, rank)
                tensors |= made
                names = [
                    name for name in names if f"{layer}.{name}" not in made and name not in (*pair, "lora_mid.weight")
                ]
            for name in names:
                key = f"{layer}.{name}" if name else layer
                if key not in tensors:
                    tensors[key] = _mean(readers, weights, key)
    told = {one.path.name: weight for one, weight in zip(files, weights, strict=True)}
    metadata = _metadata(files[-1], output.stem, told, tensors)
    metadata |= kohya_hashes(tensors, metadata)
    if "modelspec.hash_sha256" in metadata:
        metadata["modelspec.hash_sha256"] = f"0x{metadata['sshs_model_hash']}"
    write_safetensors(output, tensors, metadata, overwrite)
    return Averaged(output, told, kept)


def _layers(header: Header) -> dict[str, list[str]]:
    """Layer -> the names of its tensors."""
    found: dict[str, list[str]] = {}
    for key in header.tensors:
        layer, name = _split(key)
        found.setdefault(layer, []).append(name)
    return found


def _split(key: str) -> tuple[str, str]:
    """A tensor's layer and its name within it: kohya's layers have no dots in their names, peft's do."""
    for suffix in (name for pair in FACTORS for name in pair):
        if key.endswith(f".{suffix}"):
            return key.removesuffix(f".{suffix}"), suffix
    layer, _, name = key.partition(".")
    return layer, name


def _pair(names: Sequence[str]) -> tuple[str, str] | None:
    return next((pair for pair in FACTORS if pair[0] in names and pair[1] in names), None)


def _check_kinds(one: Saved, layers: Mapping[str, Sequence[str]]) -> None:
    """OchreError for layers whose change is no sum and no product of two matrices."""
    for layer, names in layers.items():
        ends = {
            name.rpartition(".")[2] if name.endswith(".alpha") else name for name in names
        }  # peft's layers have dots
        if layer != _WORDS and not ends <= {*(_pair(names) or ()), "lora_mid.weight", "alpha", "", *LINEAR}:
            raise OchreError(
                f"{one.path.name} is no plain LoRA: the changes that it makes can't be averaged.",
                f"{layer} has {', '.join(sorted(names))}.",
                "Save a plain LoRA beside it (networks.save_plain) and average those; or average the tensors one by "
                "one (--how factors), which comes near where the files are alike.",
            )


def _change(
    readers: Sequence[TensorReader], weights: Sequence[float], layer: str, pair: tuple[str, str], rank: int | None
) -> tuple[dict[str, Tensor], float]:
    """A layer's averaged change as two matrices of a rank, with the last file's alpha; and how much of its norm.

    The alpha stays because diffusers reads that of one layer for all attention layers of its kind.
    """
    import torch

    ups, downs = [], []
    for reader, weight in zip(readers, weights, strict=True):
        up, down = _factors(reader, layer, pair)
        ups.append(up * (weight * _scale(reader, layer, pair)))
        downs.append(down)
    last = readers[-1]
    own, up_shape, down_shape = _shapes(last, layer, pair)
    up, down, kept = torch.cat(ups, 1), torch.cat(downs, 0), 1.0
    if rank != 0:
        up, down, kept = _nearest(up, down, rank or own)
    size, dtype = up.shape[1], _dtype(last, f"{layer}.{pair[0]}")
    alphas = {f"{layer}.alpha": last.read(f"{layer}.alpha")} if f"{layer}.alpha" in last.header.tensors else {}
    for alpha in alphas.values():
        up = up * (size / float(alpha))  # what alpha / rank takes back
    made = alphas | {
        f"{layer}.{pair[0]}": up.reshape(up.shape[0], size, *up_shape[2:]).to(dtype),
        f"{layer}.{pair[1]}": down.reshape(size, *down_shape[1:]).to(dtype),
    }
    return made, kept


def _factors(reader: TensorReader, layer: str, pair: tuple[str, str]) -> tuple[Tensor, Tensor]:
    """A file's two matrices (out r, r in), fp64. A kernel counts as inputs; Tucker's core goes into down."""
    import torch

    up, down = (reader.read(f"{layer}.{name}").double() for name in pair)
    if f"{layer}.lora_mid.weight" in reader.header.tensors:
        core = reader.read(f"{layer}.lora_mid.weight").double()
        down = torch.einsum("p q ..., q i -> p i ...", core, down.flatten(1))
    return up.flatten(1), down.flatten(1)


def _shapes(reader: TensorReader, layer: str, pair: tuple[str, str]) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """A file's rank, and the shapes of its two matrices (without Tucker's core)."""
    up, down = (reader.info(f"{layer}.{name}").shape for name in pair)
    if core := reader.header.tensors.get(f"{layer}.lora_mid.weight"):
        down = (up[1], down[1], *core.shape[2:])
    return up[1], up, down


def _scale(reader: TensorReader, layer: str, pair: tuple[str, str]) -> float:
    """alpha / rank; 1 without an alpha."""
    if f"{layer}.alpha" not in reader.header.tensors:
        return 1.0
    return float(reader.read(f"{layer}.alpha")) / reader.info(f"{layer}.{pair[0]}").shape[1]


def _nearest(up: Tensor, down: Tensor, rank: int) -> tuple[Tensor, Tensor, float]:
    """The product nearest to up @ down of a rank at most (Eckart and Young 1936), and the share of its norm.

    Of the product itself, which may be large, only the small core between two orthogonal bases is made.
    """
    import torch

    left, upper = torch.linalg.qr(up)
    right, lower = torch.linalg.qr(down.T)
    first, sizes, second = torch.linalg.svd(upper @ lower.T)
    rank = min(rank, len(sizes))
    roots = sizes[:rank].sqrt()
    whole = float(sizes.square().sum().sqrt())
    kept = float(sizes[:rank].square().sum().sqrt()) / whole if whole else 1.0
    return (left @ first[:, :rank]) * roots, roots[:, None] * (second[:rank] @ right.T), kept


def _mean(readers: Sequence[TensorReader], weights: Sequence[float], key: str) -> Tensor:
    import torch

    dtype = _dtype(readers[-1], key)
    if dtype is None:  # a switch
        return readers[-1].read(key)
    total = torch.zeros((), dtype=torch.float64)
    for reader, weight in zip(readers, weights, strict=True):
        total = total + weight * reader.read(key).double()
    return total.to(dtype)


def _dtype(reader: TensorReader, key: str) -> torch.dtype | None:
    """A tensor's format; None if it holds no fractions."""
    import torch

    name = _DTYPES.get(reader.info(key).dtype)
    return getattr(torch, name) if name else None


def _metadata(last: Saved, name: str, weights: Mapping[str, float], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The last file's, with what is different."""
    told = dict(last.header.metadata)
    ranks = {len(tensor) for key, tensor in tensors.items() if key.endswith(FACTORS[0][1])}
    alphas = {float(tensor) for key, tensor in tensors.items() if key.endswith(".alpha")}
    if "ss_network_dim" in told and ranks:
        told["ss_network_dim"], told["ss_network_alpha"] = _one_of(ranks), _one_of(alphas)
    told["ss_output_name"] = name
    told["ss_averaged_from"] = json.dumps({file: round(weight, 6) for file, weight in weights.items()})
    if any(key.startswith("modelspec.") for key in told):
        told["modelspec.title"] = f"{told.get('modelspec.title', name)} (average)"
        told["modelspec.date"] = time.strftime("%Y-%m-%dT%H:%M:%S")
        told["modelspec.merged_from"] = ", ".join(weights)
    return told


def _one_of(values: set[int] | set[float]) -> str:
    return str(next(iter(values))) if len(values) == 1 else "Dynamic"


def told_weights(files: Sequence[Saved], weights: Sequence[float]) -> Iterator[str]:
    """What goes into an average, a file a line."""
    for one, weight in zip(files, weights, strict=True):
        yield f"{weight:7.2%}  {one.path.name}" + (f"  (step {one.step})" if one.step is not None else "")
