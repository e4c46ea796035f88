"""How often something is done, as a text: `200 steps`, `1 epoch`, `10 minutes`, several with commas."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.errors import Problem

_SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0}
_UNITS = ("step", "epoch", *_SECONDS)
_SHORT = {"s": "second", "sec": "second", "min": "minute", "h": "hour"}
_NEVER = ("", "never")
_PIECE = re.compile(r"(?P<number>\d+(?:\.\d+)?)?\s*(?P<unit>[a-z]*)")

EXAMPLES = "`200 steps`, `1 epoch`, `10 minutes`, several with commas, or `never`"


@dataclass(frozen=True)
class Cadence:
    """How often something is done: whenever one of these has gone by. Nothing in it: never.

    steps, epochs: done after each so many of them, counted from the start of the run. seconds: of training (without
    loading, drawing and saving) since the last time, or since this session began.
    """

    steps: tuple[int, ...] = ()
    epochs: tuple[int, ...] = ()
    seconds: tuple[float, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps or self.epochs or self.seconds)

    def due(self, step: int, ended: Sequence[int] = (), seconds: float = 0.0) -> bool:
        """Whether it is done after a step (from 1), with which these epochs (from 1) end, so long after the last time.

        More than one epoch ends with a step where epochs have no step of their own.
        """
        return (
            any(step % every == 0 for every in self.steps)
            or any(epoch % every == 0 for every in self.epochs for epoch in ended)
            or any(seconds >= every for every in self.seconds)
        )

    def __str__(self) -> str:
        """The text that `parse_cadence` reads as this one."""
        pieces = [_piece(number, "step") for number in self.steps]
        pieces += [_piece(number, "epoch") for number in self.epochs]
        for seconds in self.seconds:
            unit = next(
                unit for unit in ("hour", "minute", "second") if not seconds % _SECONDS[unit] or unit == "second"
            )
            pieces.append(_piece(seconds / _SECONDS[unit], unit))
        return ", ".join(pieces) or "never"


def _piece(number: float, unit: str) -> str:
    written = str(int(number)) if float(number).is_integer() else repr(number)
    return f"{written} {unit}{'' if number == 1 else 's'}"


def parse_cadence(text: str) -> Cadence:
    """Read a cadence. ValueError, in the user's words, for anything else."""
    if text.strip().lower() in _NEVER:
        return Cadence()
    steps, epochs, seconds = [], [], []
    for piece in text.lower().split(","):
        number, unit = _read(piece.strip())
        if unit in _SECONDS:
            seconds.append(number * _SECONDS[unit])
        else:
            (steps if unit == "step" else epochs).append(int(number))
    return Cadence(tuple(steps), tuple(epochs), tuple(seconds))


def _read(piece: str) -> tuple[float, str]:
    found = _PIECE.fullmatch(piece)
    if not found or not piece:
        raise ValueError(f"{piece!r} can't be read; write {EXAMPLES}")
    word = found["unit"]
    unit = _SHORT.get(word) or (word[:-1] if word.endswith("s") else word)
    if unit not in _UNITS:
        what = f"there is no unit {word!r}" if word else f"{piece} of what?"
        raise ValueError(f"{what}; write {EXAMPLES}")
    number = float(found["number"] or 1)
    if not number:
        raise ValueError(f"{piece!r} is no time; for none write `never`")
    if unit not in _SECONDS and number != int(number):
        raise ValueError(f"{piece!r} can't be; {unit}s are whole numbers")
    return number, unit


def cadence_problems(path: str, text: str) -> Iterator[Problem]:
    """What is wrong with the text of a setting."""
    try:
        parse_cadence(text)
    except ValueError as error:
        yield Problem(path, str(error))


def start_problems(path: str, text: str) -> Iterator[Problem]:
    """What is wrong with the text of a setting that says from when on: one number of steps or of epochs."""
    try:
        parse_start(text)
    except ValueError as error:
        yield Problem(path, str(error))


def parse_start(text: str) -> tuple[int, int]:
    """From when on: a step and an epoch, of which at least one is 0. ValueError for what is neither."""
    cadence = parse_cadence(text)
    if cadence.seconds or len(cadence.steps) + len(cadence.epochs) > 1:
        raise ValueError("takes one number of steps or of epochs, such as `500 steps` or `3 epochs`; empty: none")
    return sum(cadence.steps), sum(cadence.epochs)
