"""Makes the demo model's small CLIP tokenizer: all bytes, and one token for each word that its captions use."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from transformers import CLIPTokenizer

from .pictures import COLOURS, SHAPES

WORDS = ("a", "an", "on", "ground", "small", "large", ",", *COLOURS, *SHAPES)
LENGTH = 77  # tokens with start and end, as SD 1.5 has
END_OF_WORD = "</w>"


def make_tokenizer() -> CLIPTokenizer:
    """The tokenizer; a word that is not in WORDS comes out as pieces, at worst as its single bytes."""
    vocabulary = [*_byte_characters(), *(character + END_OF_WORD for character in _byte_characters())]
    merges = learn_merges(WORDS)
    vocabulary += ["".join(pair) for pair in merges]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    pairs: Any = merges  # transformers takes pairs, whatever its annotation says
    tokenizer = CLIPTokenizer(vocab={token: index for index, token in enumerate(vocabulary)}, merges=pairs)
    tokenizer.model_max_length = LENGTH
    return tokenizer


def learn_merges(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """Byte-pair encoding: joins the most frequent neighbours until each word is one token (first seen wins a tie)."""
    pieces = [[*word[:-1], word[-1] + END_OF_WORD] for word in words]
    merges: list[tuple[str, str]] = []
    while any(len(word) > 1 for word in pieces):
        pairs = Counter(pair for word in pieces for pair in pairwise(word))
        best = max(pairs, key=lambda pair: pairs[pair])
        merges.append(best)
        pieces = [_join(word, best) for word in pieces]
    return merges


def _join(word: list[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    for piece in word:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def _byte_characters() -> list[str]:
    """The printable character that stands for each byte in a byte-level vocabulary (GPT-2's table)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + index) for index in range(len(others))]
