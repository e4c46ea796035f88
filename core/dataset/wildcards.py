"""Draws one of the choices in `a {red|blue} coat`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class _Choices:
    """What an open bracket holds so far. literals: how many `{{` in it wait for their `}}`."""

    options: list[str] = field(default_factory=lambda: [""])
    literals: int = 0

    def add(self, text: str) -> None:
        self.options[-1] += text


def expanded(text: str, draw: Callable[[], float]) -> str:
    """The text with one choice of each bracket; `draw` gives a number in [0, 1) for each bracket that is closed.

    Brackets may be nested. `{{` and `}}` stand for the brackets themselves; within a choice a `}}` does so only where a
    `{{` is open in it, so that `{a|{b|c}}` is two brackets that end. A bracket without an end, one without a beginning
    and `{}` are text. As in kohya's trainer `{a}` is a choice of one.
    """
    open_brackets = [_Choices()]
    place = 0
    while place < len(text):
        sign, current, inside = text[place], open_brackets[-1], len(open_brackets) > 1
        doubled = sign in "{}" and text.startswith(sign, place + 1)
        if doubled and (sign == "{" or not inside or current.literals):
            current.add(sign)
            current.literals = max(0, current.literals + (1 if sign == "{" else -1))
            place += 2
            continue
        if sign == "{":
            open_brackets.append(_Choices())
        elif sign == "|" and inside:
            current.options.append("")
        elif sign == "}" and inside:
            open_brackets.pop()
            open_brackets[-1].add(_one_of(current.options, draw))
        else:
            current.add(sign)
        place += 1
    return "{".join("|".join(choices.options) for choices in open_brackets)


def _one_of(options: list[str], draw: Callable[[], float]) -> str:
    """One of the options; an empty bracket stays as it is."""
    if options == [""]:
        return "{}"
    return options[int(draw() * len(options))]
