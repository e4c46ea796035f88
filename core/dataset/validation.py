"""The pictures that are only measured: never learned, and shown the same way each time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from core.contracts import Size
from core.dataset.batches import Draw, Plan
from core.dataset.captions import CaptionDraw, undropped_caption
from core.dataset.views import view_of

if TYPE_CHECKING:
    from core.dataset.settings import Concept


def validation_draws(plan: Plan) -> Iterator[Draw]:
    """Each picture of the validation concepts, and each that is held out, once, in its first version.

    Captions and their tags are not dropped, and masks always count. `sample` numbers these pictures through, beside the
    numbers of those that are learned.
    """
    number = 0
    for index, entry in enumerate(plan.entries):
        concept = plan.concepts[entry.concept]
        if not concept.enabled or (concept.kind != "validation" and index not in plan.held_out):
            continue
        captions = plan.captions_of(entry)
        draw = CaptionDraw(plan.seed, entry.key, 0, 0, number, True)
        caption = undropped_caption(_with_all_tags(concept), captions, draw)
        view = view_of(entry, concept, plan.seed, times_shown=0, epoch=0, kept=True)
        yield Draw(index, 0, number, view, caption, masked=concept.image.mask != "off")
        number += 1


def validation_batches(plan: Plan) -> dict[int, list[list[Draw]]]:
    """Batches of one bucket each, by the number of their concept; empty where nothing is to be measured."""
    buckets: defaultdict[int, defaultdict[Size, list[Draw]]] = defaultdict(lambda: defaultdict(list))
    for draw in validation_draws(plan):
        buckets[plan.entries[draw.entry].concept][draw.view.bucket].append(draw)
    size = plan.batching.batch_size
    return {
        concept: [draws[start : start + size] for draws in by_bucket.values() for start in range(0, len(draws), size)]
        for concept, by_bucket in buckets.items()
    }


def _with_all_tags(concept: Concept) -> Concept:
    return concept.model_copy(update={"text": concept.text.model_copy(update={"tag_dropout": "off"})})
