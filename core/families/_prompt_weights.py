"""Reads the weights of a prompt's words: `(coat)`, `(coat:1.3)`, `[hat]`, and `\\(` for a bracket that is text."""

from __future__ import annotations

import re
from typing import NamedTuple

STRONGER = 1.1
"""What a pair of round brackets multiplies by; a square one divides by it (A1111's figures)."""

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_PIECES = re.compile(rf"\\[\\()\[\]]|:\s*{_NUMBER}\s*\)|[()\[\]]|[^\\()\[\]:]+|.", re.DOTALL)


class Weighted(NamedTuple):
    """Some words and their weight."""

    text: str
    weight: float


class _Piece:
    """A piece of text, while the brackets around it are still open."""

    def __init__(self, text: str) -> None:
        self.text, self.weight = text, 1.0


def weighted_pieces(prompt: str) -> list[Weighted]:
    """A prompt as pieces of text with their weights; neighbours of one weight are one piece; never empty.

    The grammar is A1111's: `(x)` is 1.1 times as strong, `[x]` 1.1 times weaker, `(x:1.3)` 1.3 times stronger, and
    nested brackets multiply. A backslash makes a bracket, or a backslash, text. A bracket without its partner is text
    too, as in ComfyUI; to A1111 an open one reaches to the prompt's end.
    """
    pieces: list[_Piece] = []
    open_brackets: dict[str, list[int]] = {"(": [], "[": []}
    for match in _PIECES.finditer(prompt):
        text = match[0]
        if text in open_brackets:
            open_brackets[text].append(len(pieces))
        elif text[-1] in ")]" and text[0] != "\\" and (begins := open_brackets["(" if text[-1] == ")" else "["]):
            _close(pieces, begins.pop(), _factor(text))
            continue
        pieces.append(_Piece(text[1:] if len(text) > 1 and text[0] == "\\" else text))
    return _joined(pieces)


def _factor(closing: str) -> float:
    """What a closing bracket, with the number before it, multiplies by."""
    if closing == "]":
        return 1 / STRONGER
    return STRONGER if closing == ")" else float(closing[1:-1])


def _close(pieces: list[_Piece], begin: int, factor: float) -> None:
    """Weight what stands since an opening bracket, which is no text then."""
    pieces[begin].text = ""
    for piece in pieces[begin:]:
        piece.weight *= factor


def _joined(pieces: list[_Piece]) -> list[Weighted]:
    joined: list[Weighted] = []
    for piece in pieces:
        if not piece.text:
            continue
        if joined and joined[-1].weight == piece.weight:
            joined[-1] = Weighted(joined[-1].text + piece.text, piece.weight)
        else:
            joined.append(Weighted(piece.text, piece.weight))
    return joined or [Weighted("", 1.0)]
