"""Reads how much single pictures of a concept count in the loss: `loss_weights.toml` in its folder."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.dataset.folders import Folder
from core.dataset.found import counted, listed
from core.dataset.text_files import printable, read_text
from core.errors import PictureError

LARGEST = 2**26
"""In bytes: half a million pictures."""

_SHAPE = 'Each line has to look like "cat.png" = 0.5'


@dataclass
class LossWeights:
    """What a file says.

    weights: picture's path -> weight. problems: what stops a run. warnings: what is worth a look.
    """

    weights: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_loss_weights(folder: Folder) -> LossWeights:
    """The weights of a folder's pictures, by their place in it (`portraits/cat.png`); nothing where there is no file.

    A weight of 1 is as without one, 2 counts twice, 0 is shown without effect. It multiplies the concept's.
    """
    found = LossWeights()
    for path in folder.loss_weights:
        try:
            told = tomllib.loads(read_text(path, LARGEST))
        except tomllib.TOMLDecodeError as error:
            found.problems.append(f"{printable(path)} is no valid TOML: {error}. {_SHAPE}.")
            continue
        except PictureError as error:
            found.problems.append(str(error))
            continue
        _take(told, folder, found)
        if wrong := list(_wrong(told)):
            found.problems.append(f"In {printable(path)}: {listed(wrong)}.")
        if found.weights and folder.concept.kind == "validation":
            found.warnings.append(f"{printable(path)} has no effect: the concept's pictures are only measured.")
    return found


def _take(told: Mapping[str, Any], folder: Folder, found: LossWeights) -> None:
    places = {folder.name_of(path): path for path in folder.pictures}
    unknown = []
    for name, value in told.items():
        if name in places and not _reason(value):
            found.weights[places[name]] = float(value)
        elif name not in places and not isinstance(value, dict):
            unknown.append(name + _nearest(name, list(places)))
    if unknown:
        where = printable(folder.loss_weights[0])
        found.warnings.append(f"In {where}: {counted(len(unknown), 'name')} without picture: {listed(unknown)}.")


def _wrong(told: Mapping[str, Any]) -> Iterator[str]:
    """The names whose value is no weight, with the reason."""
    for name, value in told.items():
        if reason := _reason(value):
            yield f"{name!r} {reason}"


def _reason(value: Any) -> str:
    """Why a value is no weight; empty if it is one."""
    if isinstance(value, dict):
        return f"is a table; a name with a dot needs quotes, and tables have no place here. {_SHAPE}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"is {value!r}, which is no number"
    if not math.isfinite(value):
        return f"is {value}, which is no weight"
    return f"is {value:g}, and a weight can't be below 0" if value < 0 else ""


def _nearest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
    return f" (is {close[0]} meant?)" if close else ""
