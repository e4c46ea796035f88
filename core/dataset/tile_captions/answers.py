"""Makes a caption of what a vision model answered, and tells captions from nonsense."""

from __future__ import annotations

import re

LONGEST = 1000
"""Characters; what is longer is no caption."""

_REASONING = re.compile(r"<(think|thinking|reasoning)>.*?(</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_REASONING_BEFORE = re.compile(r"\A.*</(think|thinking|reasoning)>", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"```[\w-]*\n?(.*?)(```|\Z)", re.DOTALL)
_SPECIAL = re.compile(r"<\|[^|<>]{1,40}\|>|</?s>")
_LABEL = re.compile(r"\A[\s*_#]*caption[\s*_]*:[\s*_]*", re.IGNORECASE)
_QUOTES = (*('""', "''", "“”", "„“", "‘’", "«»", "``"), ("**", "**"), ("__", "__"), ("*", "*"))
_REFUSAL = re.compile(
    r"(?:i['’]m|i am) (?:very |so )?sorry|sorry,? (?:but )?i\b|i can(?:not|['’]t) |i(?:['’]m| am) unable|as an ai\b"
    r"|unable to (?:assist|help|view|see)",
    re.IGNORECASE,
)
_WORDS, _DIFFERENT = 30, 0.2  # of so many words or more, this share must differ


def cleaned(answer: str) -> str:
    """The caption in a model's answer: one line without reasoning, code fences, a label and quotes around it."""
    text = _REASONING_BEFORE.sub("", _REASONING.sub("", answer))
    text = _SPECIAL.sub("", _FENCE.sub(r"\1", text))
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    before = None
    while text != before:
        before, text = text, _without_quotes(_LABEL.sub("", text))
    return text


def _without_quotes(text: str) -> str:
    for opening, closing in _QUOTES:
        if len(text) > len(opening) and text.startswith(opening) and text.endswith(closing):
            inside = text[len(opening) : -len(closing)]
            if opening not in inside and closing not in inside:  # not: "a" and "b"
                return inside.strip()
    return text.strip()


def nonsense(caption: str) -> str:
    """What a cleaned answer is that is no caption; empty if it may be one."""
    if not caption:
        return "nothing"
    if len(caption) > LONGEST:
        return f"{len(caption)} characters"
    if not any(char.isalpha() for char in caption):
        return f"no words ({caption[:20]})"
    if _REFUSAL.match(caption):
        return f"a refusal ({caption[:60]})"
    words = caption.lower().split()
    if len(words) >= _WORDS and len(set(words)) < len(words) * _DIFFERENT:
        return f"the same words again and again ({' '.join(words[:5])})"
    return ""
