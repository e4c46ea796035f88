"""Reads captions, and makes of each what a picture is shown with: trigger word, shuffled tags, dropout."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from core.dataset.draws import shuffled, uniform_for
from core.errors import PictureError

if TYPE_CHECKING:
    from core.dataset.settings import Concept

_LONGEST_TAG = 4
"""In words. A caption with a longer piece between its separators is prose."""


def read_caption(path: Path) -> str | None:
    """The caption in a file, its lines joined by spaces; None where there is no file.

    PictureError, naming the file, where it is not UTF-8 (a byte order mark is fine).
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise PictureError(
            f"{path} is not UTF-8 text.",
            f"Byte {error.start + 1} can't be read.",
            "Open it in a text editor and save it with the encoding UTF-8.",
        ) from error
    except OSError as error:
        raise PictureError(f"{path} can't be read.", f"{error.strerror}.") from error
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def caption_for(concept: Concept, raw: str, seed: int, epoch: int, sample: int) -> str:
    """What a sample is shown with: a pure function of its arguments. Empty where the caption is dropped."""
    text = concept.text
    if text.caption_dropout and uniform_for(seed, "caption dropout", epoch, sample) < text.caption_dropout:
        return ""
    if text.shuffle_tags:
        return _with_shuffled_tags(concept, raw, seed, epoch, sample)
    return with_trigger_word(raw, concept.trigger_word, text.separator)


def varies(concept: Concept) -> bool:
    """Whether one picture of the concept is shown with different captions."""
    return concept.text.shuffle_tags or concept.text.caption_dropout > 0


def tags_of(caption: str, separator: str) -> list[str]:
    """The pieces between the separators, without the empty ones."""
    return [tag for piece in caption.split(separator) if (tag := piece.strip())]


def with_trigger_word(caption: str, word: str, separator: str) -> str:
    """The caption with the trigger word in front, unless it is there already.

    In a list of tags it has to be a tag of its own: `cat ears` is no `cat`. In prose it has to be a whole word.
    Upper and lower case are the same, as they are to the text encoders.
    """
    word = word.strip()
    if not word or _has_word(caption, word, separator):
        return caption
    return _joined([word, caption] if caption else [word], separator)


def _has_word(caption: str, word: str, separator: str) -> bool:
    tags = tags_of(caption, separator)
    if any(len(tag.split()) > _LONGEST_TAG for tag in tags):
        return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", caption, re.IGNORECASE) is not None
    return word.casefold() in (tag.casefold() for tag in tags)


def _with_shuffled_tags(concept: Concept, raw: str, seed: int, epoch: int, sample: int) -> str:
    """Trigger word, kept tags, then the others in a drawn order. A trigger word among the tags moves to the front."""
    separator, keep = concept.text.separator, concept.text.keep_tags
    word = concept.trigger_word.strip()
    tags = [tag for tag in tags_of(raw, separator) if tag.casefold() != word.casefold()]
    loose = shuffled(tags[keep:], seed, "tags", epoch, sample)
    return _joined([*([word] if word else []), *tags[:keep], *loose], separator)


def _joined(pieces: list[str], separator: str) -> str:
    return (separator.rstrip() + " ").join(pieces)
