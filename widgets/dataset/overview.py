"""What was found in the concepts' folders, in short."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from core.dataset.manifest import Entry
from core.dataset.survey import Survey
from widgets.bars import bars
from widgets.field import to_text
from widgets.thumbnails import image
from widgets.wording import facts, note

PICTURES_SHOWN = 8
LINES_SHOWN = 12


def overview(found: Survey) -> str:
    """The counts, some pictures, the sizes, and what is worth a look, as HTML."""
    count = sum(entry.tile is None for entry in found.entries)
    tiles = len(found.entries) - count
    title = f"{_pictures(count)} and {tiles:,} tiles" if tiles else _pictures(count)
    shown = {concept.name or concept.folder: _of(found, index) for index, concept in enumerate(found.concepts)}
    stands = f"{len(found.problems)} things stand" if len(found.problems) > 1 else "One thing stands"
    problems = note(f"{stands} in the way.", "\n".join(found.problems), "bad") if found.problems else ""
    pictures = "".join(_picture(entry) for entry in _some(found.entries))
    buckets = {str(size): number for size, number in found.bucket_counts().items()}
    return (
        f'{problems}<div class="ochre-note good"><b>{title}</b>{facts(shown)}</div>'
        f'<div class="ochre-pictures">{pictures}</div>'
        + bars(buckets, "Sizes that they are brought to")
        + listed("Worth a look", found.warnings)
        + listed("Converted", found.converted)
        + listed("Left out", found.left_out, "bad")
    )


def _of(found: Survey, index: int) -> str:
    """What a concept gives."""
    concept = found.concepts[index]
    if not concept.enabled:
        return "switched off"
    count = _pictures(sum(entry.concept == index and entry.tile is None for entry in found.entries))
    if concept.kind == "validation":
        return f"{count}, only measured"
    if concept.samples_per_epoch:
        return f"{count}, {concept.samples_per_epoch:,} shown in each epoch"
    return count if concept.repeats == 1 else f"{count}, each shown {to_text(concept.repeats)} times in an epoch"


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count:,} pictures"


def _some(entries: list[Entry]) -> list[Entry]:
    """A few whole pictures from all over the list."""
    whole = [entry for entry in entries if entry.tile is None] or entries
    if len(whole) <= PICTURES_SHOWN:
        return whole
    return [whole[index * len(whole) // PICTURES_SHOWN] for index in range(PICTURES_SHOWN)]


def _picture(entry: Entry) -> str:
    return f'<div class="ochre-sample">{image(Path(entry.path), " / ".join(entry.captions))}</div>'


def listed(title: str, lines: Iterable[object], kind: str = "") -> str:
    """Lines under a title, the first ones in sight and the others folded; empty for none."""
    items = [f"<li>{escape(str(line))}</li>" for line in lines]
    if not items:
        return ""
    more = len(items) - LINES_SHOWN
    rest = f"<details><summary>{more} more</summary><ul>{''.join(items[LINES_SHOWN:])}</ul></details>"
    return (
        f'<div class="ochre-note {kind}"><b>{escape(title)} ({len(items)})</b>'
        f"<ul>{''.join(items[:LINES_SHOWN])}</ul>{rest if more > 0 else ''}</div>"
    )
