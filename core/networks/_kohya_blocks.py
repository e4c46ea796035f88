"""kohya's ranks, alphas and factors of learning rates by block, as rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from core.errors import OchreError
from core.weights.layouts import UNetShape
from core.weights.layouts.sdxl import UNET as SDXL

SD1 = UNetShape(levels=4, layers=2, attended=frozenset({1, 2, 3}))
_KERNELS = r"(conv1|conv2|samplers\.0\.conv)$"
CONVOLUTION, OTHERS = rf"(?=.*{_KERNELS})", rf"(?!.*{_KERNELS})"
"""Told apart by a pattern: convolutions of larger kernels, and the other layers of the same blocks."""

MIDDLES = {"resnets_0": r"resnets\.0\.", "attentions": r"attentions\.", "resnets_1": r"resnets\.1\."}
"""The thirds of SDXL's middle block, each of which kohya counts as one."""


class Blocks:
    """Ranks, alphas and factors by block, of a network of the kind networks.lora."""

    def __init__(self, left: dict[str, str], family: str, own: tuple[int, float], conv: tuple[int, float]) -> None:
        self._shape = SDXL if family == "sdxl" else SD1
        self._sdxl = family == "sdxl"
        self._places = [*_places(self._shape, self._sdxl)]
        self.factors = self._factors(left)
        given = {
            name: left.pop(name, None)
            for name in ("block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas")
        }
        self.has_conv = given["conv_block_dims"] is not None and bool(given["block_dims"] or self.factors)
        counted = given["block_dims"] is not None or self.factors is not None  # else kohya leaves the others unread
        self._own, self._conv = own, conv
        self.linear = self._sizes("block_dims", "block_alphas", given, own) if counted else None
        self.kernels = self._sizes("conv_block_dims", "conv_block_alphas", given, conv) if counted else None

    def _sizes(
        self, dims: str, alphas: str, given: Mapping[str, str | None], own: tuple[int, float]
    ) -> list[tuple[int, float]]:
        ranks = self._numbers(dims, given[dims], int) or [own[0]] * len(self._places)
        scales = self._numbers(alphas, given[alphas], float) or [own[1]] * len(self._places)
        return [*zip(ranks, scales, strict=True)]

    def _numbers(self, name: str, text: str | None, kind: Callable[[str], Any]) -> list[Any]:
        if text is None:
            return []
        numbers = [number(name, one, kind) for one in text.split(",")]
        if len(numbers) != len(self._places):
            raise OchreError(
                f"{name} has {len(numbers)} values, and needs {len(self._places)}.",
                do="Give one for each block: 25 for SD 1.5, 23 for SDXL.",
            )
        return numbers

    def _factors(self, left: dict[str, str]) -> list[float] | None:
        """kohya's get_block_lr_weight: one for each block; 0 where nothing is trained."""
        texts = [left.pop(f"{side}_lr_weight", None) for side in ("down", "mid", "up")]
        threshold = take(left, "block_lr_zero_threshold", float, 0.0)
        if all(text is None for text in texts):
            return None
        counts = (9, 3, 9) if self._sdxl else (12, 1, 12)
        sides = [_weights(text, count) for text, count in zip(texts, counts, strict=True)]
        factors = [one if one > threshold else 0.0 for side in sides for one in side]
        return [1.0, *factors, 1.0] if self._sdxl else factors

    def rules(self) -> Iterator[dict[str, Any]]:
        """The rules that say the same."""
        if self.linear is None or self.kernels is None:
            return
        conv = bool(self._conv[0]) or self.has_conv
        factors = self.factors or [1.0] * len(self._places)
        kinds = [(OTHERS if conv else "", self.linear, self._own, False)]
        if conv:
            kinds.append((CONVOLUTION, self.kernels, (self._conv[0] or self._own[0], self._conv[1]), True))
        for pattern, sizes, own, kernels in kinds:
            here = {place: (*sizes[place], factors[place]) for place in self._with_layers(conv, kernels)}
            for value in dict.fromkeys(here.values()):
                rank, alpha, factor = value
                said = {"rank": rank} if rank != own[0] else {}
                said |= {"alpha": alpha} if alpha != own[1] else {}
                said |= {"learning_rate_factor": factor} if factor != 1 else {}
                said = {"train": False} if not (rank and factor) else said
                if said:
                    for selected in self._selected([place for place in here if here[place] == value], pattern):
                        yield selected | said

    def _with_layers(self, conv: bool, kernels: bool) -> Iterator[int]:
        """The blocks that have layers: of larger kernels, or others, with or without resnets."""
        for place, (block, third) in enumerate(self._places):
            if block in ("", "IN00"):
                continue
            attended = block in _attended(self._shape) or (block == "MID" and third in ("", "attentions"))
            others = attended or (conv and block not in _samplers(self._shape))
            if third != "attentions" if kernels else others:
                yield place

    def _selected(self, places: Sequence[int], pattern: str) -> Iterator[dict[str, str]]:
        """Blocks, and patterns where SDXL's middle block counts as three."""
        middles = [place for place in places if self._places[place][1]]
        whole = len(middles) == 3
        blocks = [self._places[place][0] for place in places if place not in middles]
        if whole:
            blocks.insert(sum(block.startswith("IN") for block in blocks), "MID")
        if blocks:
            yield {"blocks": ", ".join(_ranges(blocks))} | ({"pattern": f"^{pattern}"} if pattern else {})
        for place in middles if not whole else ():
            yield {"blocks": "MID", "pattern": f"^(?=.*{MIDDLES[self._places[place][1]]}){pattern}"}


def _places(shape: UNetShape, sdxl: bool) -> Iterator[tuple[str, str]]:
    """kohya's blocks in their order, as ours, and the third of SDXL's middle block. ("", ""): without layers."""
    count = shape.levels * (shape.layers + 1)
    if sdxl:
        yield "", ""  # time_embed and label_emb
    yield from ((f"IN{place:02}", "") for place in range(count))
    yield from ((("MID", third) for third in ("resnets_0", "attentions", "resnets_1")) if sdxl else [("MID", "")])
    yield from ((f"OUT{place:02}", "") for place in range(count))
    if sdxl:
        yield "", ""  # out


def _attended(shape: UNetShape) -> set[str]:
    """The blocks with attention, but for the middle one."""
    step, last = shape.layers + 1, shape.levels - 1
    ups = {f"OUT{level * step + layer:02}" for level in shape.attended for layer in range(step)}
    return ups | {
        f"IN{(last - level) * step + 1 + layer:02}" for level in shape.attended for layer in range(shape.layers)
    }


def _samplers(shape: UNetShape) -> set[str]:
    """The blocks that are a downsampler alone."""
    return {f"IN{(level + 1) * (shape.layers + 1):02}" for level in range(shape.levels - 1)}


def _weights(text: str | None, count: int) -> list[float]:
    """One side's factors: numbers, or a name and what is added. Too few are filled with 1, too many left out."""
    if text is None:
        return [1.0] * count
    name, _, base = text.partition("+")
    shapes: Mapping[str, Callable[[float], float]] = {
        "sine": lambda x: math.sin(math.pi * x / 2), "cosine": lambda x: math.sin(math.pi * (1 - x) / 2),
        "linear": lambda x: x, "reverse_linear": lambda x: 1 - x, "zeros": lambda x: 0.0,
    }  # fmt: skip
    if name in shapes:
        return [shapes[name](place / (count - 1)) + float(base or 0) for place in range(count)]
    numbers = [number("lr_weight", one or "0", float) for one in text.split(",")]
    return (numbers + [1.0] * count)[:count]


def _ranges(blocks: Sequence[str]) -> Iterator[str]:
    """Runs of numbered blocks in short: IN01-IN03."""
    runs: list[list[str]] = []
    for block in blocks:
        name, count = block.rstrip("0123456789"), block.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        if count and runs and runs[-1][-1] == f"{name}{int(count) - 1:02}":
            runs[-1].append(block)
        else:
            runs.append([block])
    yield from (run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def take(left: dict[str, str], name: str, kind: Callable[[str], Any], default: Any) -> Any:
    """Take an option out of those that are left; the default where it isn't given."""
    value = left.pop(name, None)
    return default if value in (None, "", "None") else number(name, value, kind)  # type: ignore[arg-type]


def number(name: str, value: str, kind: Callable[[str], Any]) -> Any:
    """An option's value as a number. OchreError if it is none."""
    try:
        return kind(value.strip())
    except ValueError:
        raise OchreError(f"{name}: {value!r} is no {'whole ' if kind is int else ''}number.") from None
