"""What was found in all concepts together, in short."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from core.dataset.report import BucketFacts, ConceptFacts, DatasetReport, PictureFate
from widgets.bars import bars
from widgets.field import to_text
from widgets.thumbnails import image
from widgets.wording import explained, facts, note

PICTURES_SHOWN = 8
LINES_SHOWN = 12
LINES_FOLDED = 200
"""So many more are a click away; a saved notebook would grow with all of them."""


def overview(report: DatasetReport) -> str:
    """The counts, some pictures, the sizes, and what is worth a look, as HTML."""
    used = [picture for picture in report.pictures if picture.used]
    tiles = sum(concept.tiles for concept in report.concepts)
    title = f"{pictures(len(used))} and {tiles:,} tiles" if tiles else pictures(len(used))
    shown = {concept.name: _of(concept) for concept in report.concepts}
    notes = [*report.warnings, *_advice(report.concepts), *report.remainder]
    return (
        _problems(report.problems)
        + f'<div class="ochre-note good"><b>{title}</b>{facts(shown)}</div>'
        + f'<div class="ochre-pictures">{"".join(map(_picture, _some(used)))}</div>'
        + bucket_bars(report.buckets)
        + listed("Worth a look", notes)
        + listed("The same picture more than once", map(", ".join, report.copies))
        + listed("Pictures that look nearly the same", map(", ".join, report.alike))
        + listed("Converted, or otherwise to be known", (f"{fate.name}: {fate.why}" for fate in used if fate.why))
        + listed("Left out", (f"{fate.name}: {fate.why}" for fate in report.left_out), "bad")
    )


def bucket_bars(buckets: Sequence[BucketFacts]) -> str:
    """A chart for each resolution: how many pictures and tiles are brought to which size."""
    groups: dict[int, dict[str, int]] = {}
    for bucket in buckets:
        groups.setdefault(bucket.resolution, {})[bucket.size] = bucket.pictures + bucket.tiles
    several = len(groups) > 1
    return "".join(
        bars(
            counts, f"Sizes at resolution {resolution}" if several and resolution else "Sizes that they are brought to"
        )
        for resolution, counts in sorted(groups.items())
    )


def listed(title: str, lines: Iterable[object], kind: str = "") -> str:
    """Lines under a title, the first ones in sight and the others folded; empty for none."""
    items = [f"<li>{explained(str(line))}</li>" for line in lines]
    if not items:
        return ""
    more, last = len(items) - LINES_SHOWN, LINES_SHOWN + LINES_FOLDED
    beyond = f"<li>... and {len(items) - last:,} more, in the JSON file</li>" if len(items) > last else ""
    folded = f"{''.join(items[LINES_SHOWN:last])}{beyond}"
    rest = f"<details><summary>{more:,} more</summary><ul>{folded}</ul></details>"
    return (
        f'<div class="ochre-note {kind}"><b>{escape(title)} ({len(items):,})</b>'
        f"<ul>{''.join(items[:LINES_SHOWN])}</ul>{rest if more > 0 else ''}</div>"
    )


def pictures(count: int) -> str:
    """`1 picture`, `1,234 pictures`."""
    return "1 picture" if count == 1 else f"{count:,} pictures"


def _problems(problems: Sequence[str]) -> str:
    if not problems:
        return ""
    stands = f"{len(problems)} things stand" if len(problems) > 1 else "One thing stands"
    return note(f"{stands} in the way.", "\n".join(problems), "bad")


def _of(concept: ConceptFacts) -> str:
    """What a concept gives."""
    lost = concept.pictures - concept.used
    count = pictures(concept.used) + (f" (and {lost:,} left out)" if lost else "")
    if concept.kind == "validation":
        return f"{count}, only measured"
    if concept.samples_per_epoch:
        return f"{count}, {concept.samples_per_epoch:,} shown in each epoch"
    return count if concept.repeats == 1 else f"{count}, each shown {to_text(concept.repeats)} times in an epoch"


def _advice(concepts: Sequence[ConceptFacts]) -> list[str]:
    return [f"{concept.name}: {advice}" for concept in concepts for advice in concept.advice]


def _some(used: Sequence[PictureFate]) -> Sequence[PictureFate]:
    """A few pictures from all over the list."""
    if len(used) <= PICTURES_SHOWN:
        return used
    return [used[index * len(used) // PICTURES_SHOWN] for index in range(PICTURES_SHOWN)]


def _picture(fate: PictureFate) -> str:
    return f'<div class="ochre-sample">{image(Path(fate.path), fate.caption)}</div>'
