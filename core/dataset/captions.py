"""Makes of a picture's captions what it is shown with: wildcards, tags, trigger word, capitals, dropout."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from core.dataset.draws import key_for, shuffled, uniform_for
from core.dataset.wildcards import expanded

if TYPE_CHECKING:
    from core.dataset.settings import Concept, ConceptText

_LONGEST_TAG = 4
"""In words. A caption with a longer piece between its separators is prose."""

_WORD = re.compile(r"[^\W_](?:[^\W_]|['’](?=\w))*")


@dataclass(frozen=True, slots=True)
class CaptionDraw:
    """The showing that a caption is for.

    seed: the run's. key: the picture's (`Entry.key`). times_shown: how often it was shown before. epoch, sample: of
    this showing. kept: whether versions are encoded once and kept: then each caption has only `text_variations`.
    """

    seed: int
    key: int
    times_shown: int
    epoch: int
    sample: int
    kept: bool


def caption_for(concept: Concept, captions: Sequence[str], draw: CaptionDraw) -> str:
    """What a picture is shown with: a pure function of its arguments. Empty where the caption is dropped.

    captions: the picture's own, or the lines of the concept's prompt file. Without any, and where the caption is empty,
    it is the trigger word alone.

    The order is that of kohya's trainer (sd-scripts, process_caption), with the trigger word and the capitals after it:
    prefix and suffix, wildcards, kept and loose tags, tag dropout, shuffling, second separator, trigger word, capitals.
    """
    dropout = concept.text.caption_dropout
    if dropout and uniform_for(draw.seed, "caption dropout", draw.epoch, draw.sample) < dropout:
        return ""
    return undropped_caption(concept, captions, draw)


def undropped_caption(concept: Concept, captions: Sequence[str], draw: CaptionDraw) -> str:
    """What `caption_for` gives where the caption isn't dropped."""
    caption, version = _chosen(concept, captions, draw)
    if not caption.strip():
        return concept.trigger_word.strip()
    return _varied(concept, _with_word_in_place(concept, caption), _draws_of(caption, version, draw))


def varies(concept: Concept) -> bool:
    """Whether one picture of the concept is shown with different captions."""
    text = concept.text
    several = text.lines_path is not None or text.caption_lines in ("in_turn", "random")
    return text.varies or several or text.caption_dropout > 0


def tags_of(caption: str, separator: str) -> list[str]:
    """The pieces between the separators, without the empty ones."""
    return [tag for piece in caption.split(separator) if (tag := piece.strip())]


def is_prose(caption: str, separator: str) -> bool:
    """Whether a caption is sentences, not a list of tags: one of its pieces has more words than tags have."""
    return any(len(tag.split()) > _LONGEST_TAG for tag in tags_of(caption, separator))


def with_trigger_word(caption: str, word: str, separator: str) -> str:
    """The caption with the trigger word in front, unless it is there already.

    In a list of tags it has to be a tag of its own: `cat ears` is no `cat`. In prose it has to be a whole word.
    Upper and lower case are the same, as they are to the text encoders.
    """
    word = word.strip()
    if not word or _has_word(caption, word, separator):
        return caption
    return _joined([word, caption] if caption else [word], separator)


class _Draws(NamedTuple):
    """What all draws for one version of one caption hang on."""

    seed: int
    numbers: tuple[int, ...]

    def uniform(self, purpose: str, *more: int) -> float:
        return uniform_for(self.seed, purpose, *self.numbers, *more)

    def shuffled(self, items: Sequence[str], purpose: str) -> list[str]:
        return shuffled(items, self.seed, purpose, *self.numbers)

    def generator(self, purpose: str) -> random.Random:
        """Of it only `random()` stays the same between versions of Python."""
        return random.Random(key_for(self.seed, purpose, *self.numbers))


def _draws_of(caption: str, version: int, draw: CaptionDraw) -> _Draws:
    """Kept versions hang on the caption alone, so that pictures with the same caption share their encodings."""
    text_key = key_for(0, caption)
    return _Draws(draw.seed, (text_key, version) if draw.kept else (text_key, version, draw.key))


def _chosen(concept: Concept, captions: Sequence[str], draw: CaptionDraw) -> tuple[str, int]:
    """One of the captions, and the number of its version."""
    count, text = len(captions), concept.text
    if not count:
        return "", 0
    if count > 1 and (text.lines_path or text.caption_lines == "random"):
        place = int(uniform_for(draw.seed, "caption line", draw.epoch, draw.sample) * count)
        version = draw.times_shown
    else:
        version, place = divmod(draw.times_shown, count)
    return captions[place], version % concept.text_variations if draw.kept else version


def _varied(concept: Concept, caption: str, draws: _Draws) -> str:
    """One version of a caption that isn't empty."""
    text, word = concept.text, concept.trigger_word.strip()
    caption = _with_additions(text, caption)
    if text.wildcards:
        caption = _with_wildcards(text, caption, draws)
    if text.shuffle_tags or text.tag_dropout != "off" or _has_mark(text, caption):
        caption = _with_other_tags(text, word, caption, draws)
    if text.secondary_separator and text.secondary_separator in caption:
        caption = _joined(tags_of(caption, text.secondary_separator), text.separator)
    caption = with_trigger_word(caption, word, text.separator)
    if text.caps and draws.uniform("caps") < text.caps_probability:
        mode = text.caps[int(draws.uniform("which caps") * len(text.caps))]
        caption = _with_capitals(caption, tags_of(word, text.separator), text.separator, mode)
    return caption


def _with_word_in_place(concept: Concept, caption: str) -> str:
    """With the trigger word where the caption marks its place; the marks of other trainers count in a prompt file."""
    marks = ("{trigger}", "{}", "[name]") if concept.text.lines_path else ("{trigger}",)
    for mark in marks:
        caption = caption.replace(mark, concept.trigger_word.strip())
    return caption


def _with_additions(text: ConceptText, caption: str) -> str:
    """With prefix and suffix. A separator that they or the caption end with is not doubled."""
    if not text.prefix.strip() and not text.suffix.strip():
        return caption
    pieces = [_trimmed(piece, text.separator) for piece in (text.prefix, caption, text.suffix)]
    return _joined([piece for piece in pieces if piece], text.separator)


def _with_wildcards(text: ConceptText, caption: str, draws: _Draws) -> str:
    """With one choice of each bracket. Where an empty choice leaves a gap, it is closed."""
    drawn = expanded(caption, draws.generator("wildcards").random)
    if drawn == caption:
        return caption
    if sign := re.escape(text.separator.strip()):
        drawn = re.sub(rf"{sign}(?:\s*{sign})+", text.separator.strip().replace("\\", r"\\"), drawn)
    return _trimmed(re.sub(r"\s+", " ", drawn), text.separator)


def _has_mark(text: ConceptText, caption: str) -> bool:
    return bool(text.keep_tags_separator) and text.keep_tags_separator in caption


def _with_other_tags(text: ConceptText, word: str, caption: str, draws: _Draws) -> str:
    """With its loose tags dropped and shuffled. A trigger word among the tags comes to the front."""
    own = tags_of(word, text.separator)
    found = _divided(text, caption)
    head, loose, tail = (_without(tags, own) for tags in found)
    is_there = found != (head, loose, tail)
    if not _has_mark(text, caption):
        head, loose = loose[: text.keep_tags], loose[text.keep_tags :]
    loose = _not_dropped(text, loose, draws)
    if text.shuffle_tags:
        loose = draws.shuffled(loose, "tags")
    return _joined([*(own if is_there else ()), *head, *loose, *tail], text.separator)


def _divided(text: ConceptText, caption: str) -> tuple[list[str], list[str], list[str]]:
    """Tags that stay at the start, loose ones, and those that stay at the end, where marks say so; else all loose."""
    if not _has_mark(text, caption):
        return [], tags_of(caption, text.separator), []
    head, loose, *tail = (tags_of(piece, text.separator) for piece in caption.split(text.keep_tags_separator))
    return head, loose, [tag for piece in tail for tag in piece]


def _not_dropped(text: ConceptText, tags: list[str], draws: _Draws) -> list[str]:
    """The loose tags that stay.

    Weighted: of n tags the i-th, counted from 0, goes with the probability 2 i / (n - 1) times the set one, at most 1;
    a single one with the set one. So up to 0.5 the mean over the tags is the set one.
    """
    share, last = text.tag_dropout_probability, len(tags) - 1
    if text.tag_dropout == "off":
        return tags
    if text.tag_dropout == "full":
        all_go = draws.uniform("tag dropout") < share
        return [tag for tag in tags if not (all_go and _may_go(text, tag))]
    weighted = text.tag_dropout == "random_weighted" and last > 0
    shares = [share * 2 * place / last if weighted else share for place in range(len(tags))]
    return [
        tag
        for place, tag in enumerate(tags)
        if not (_may_go(text, tag) and draws.uniform("tag dropout", place) < shares[place])
    ]


def _may_go(text: ConceptText, tag: str) -> bool:
    """Whether the list lets a tag be dropped. Tags that stay together go only where each of them may."""
    if text.tag_dropout_mode == "all":
        return True
    wanted = text.tag_dropout_mode == "only"
    members = tags_of(tag, text.secondary_separator) if text.secondary_separator else [tag]
    return all(_is_listed(text, member) == wanted for member in members)


def _is_listed(text: ConceptText, tag: str) -> bool:
    """Whether a tag is in the list; upper and lower case are the same."""
    if text.tag_dropout_regex:
        return any(re.fullmatch(pattern, tag, re.IGNORECASE) for pattern in text.tag_dropout_list)
    return tag.casefold() in (listed.strip().casefold() for listed in text.tag_dropout_list)


def _with_capitals(caption: str, own: Sequence[str], separator: str, mode: str) -> str:
    """With other capitals everywhere but in the trigger word, whose tags are `own`."""
    word = rf"\s*{re.escape(separator.strip())}\s*".join(re.escape(tag) for tag in own)
    pieces = re.split(rf"((?<!\w){word}(?!\w))", caption, flags=re.IGNORECASE) if own else [caption]
    begun = False
    for place in range(0, len(pieces), 2):  # between them stands the trigger word
        piece = pieces[place]
        if mode == "upper":
            pieces[place] = piece.upper()
        elif mode == "title":
            pieces[place] = _WORD.sub(_capitalised, piece)
        else:
            pieces[place] = piece.lower()
            if mode == "first" and not begun:
                pieces[place] = _WORD.sub(_capitalised, pieces[place], count=1)
                begun = _WORD.search(piece) is not None
    return "".join(pieces)


def _capitalised(word: re.Match[str]) -> str:
    return word[0].capitalize()


def _has_word(caption: str, word: str, separator: str) -> bool:
    if is_prose(caption, separator):
        return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", caption, re.IGNORECASE) is not None
    return _place_of(tags_of(word, separator), tags_of(caption, separator)) is not None


def _place_of(run: Sequence[str], tags: Sequence[str]) -> int | None:
    """Where some tags stand one after the other among others; upper and lower case are the same."""
    wanted, lowered = [tag.casefold() for tag in run], [tag.casefold() for tag in tags]
    places = range(len(lowered) - len(wanted) + 1)
    return next((place for place in places if lowered[place : place + len(wanted)] == wanted), None)


def _without(tags: list[str], run: Sequence[str]) -> list[str]:
    """The tags without some that stand one after the other, wherever these do."""
    while run and (place := _place_of(run, tags)) is not None:
        tags = tags[:place] + tags[place + len(run) :]
    return tags


def _trimmed(text: str, separator: str) -> str:
    """Without space and separators at either end."""
    sign = separator.strip()
    while True:
        shorter = text.strip().removeprefix(sign).removesuffix(sign)
        if shorter == text:
            return text
        text = shorter


def _joined(pieces: Sequence[str], separator: str) -> str:
    return (separator.rstrip() + " ").join(pieces)
