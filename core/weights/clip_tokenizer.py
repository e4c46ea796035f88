"""Builds CLIP's tokenizer from the merges that we ship, which all of Stable Diffusion's text encoders share."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

_MERGES = Path(__file__).with_name("clip") / "merges.txt.gz"

START, END = "<|startoftext|>", "<|endoftext|>"


def clip_tokenizer(pad_token: Literal["<|endoftext|>", "!"] = END) -> CLIPTokenizer:
    """CLIP's tokenizer: 49,408 tokens, 77 to a text with its start and end.

    pad_token: "<|endoftext|>" for CLIP-L, "!" (token 0) for SDXL's second text encoder. With "!" every "!" in a caption
    becomes token 0 too, instead of 256, as in diffusers; ComfyUI and kohya pad with 0 and read "!" as 256.
    """
    from transformers import CLIPTokenizer

    vocabulary, merges = _vocabulary()
    pairs: Any = list(merges)  # transformers takes pairs, whatever its annotation says
    return CLIPTokenizer(vocab=dict(vocabulary), merges=pairs, pad_token=pad_token, model_max_length=77)


def knows_word(word: str) -> bool:
    """Whether CLIP has a word of its own for it, in capitals or not. Needs no transformers."""
    return f"{word.lower()}</w>" in _vocabulary()[0]


@cache
def _vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Token -> number, and the merges: every byte, every byte that ends a word, every merge, start and end."""
    lines = gzip.decompress(_MERGES.read_bytes()).decode("utf-8").splitlines()
    merges = [(left, right) for left, right in (line.split(" ") for line in lines)]
    letters = _byte_letters()
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *(left + right for left, right in merges), START, END]
    return {token: number for number, token in enumerate(tokens)}, merges


def _byte_letters() -> list[str]:
    """A character for each byte, in the order of CLIP's vocabulary: those that can be seen, then stand-ins."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = 256 - len(visible)
    return [chr(number) for number in (*visible, *range(256, 256 + hidden))]
