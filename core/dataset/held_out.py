"""Which pictures of standard concepts are not learned but only measured: a share of each, chosen by their content."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from core.dataset.draws import uniform_for
from core.dataset.manifest import Entry
from core.dataset.settings import Concept

MOST = 0.9
"""The largest share that can be held out."""


def held_out(entries: Sequence[Entry], concepts: Sequence[Concept], share: float, seed: int) -> frozenset[int]:
    """The indices of the entries that are held out.

    Of each standard concept with more than one picture so many as the share says, but at least one, and never all.
    A picture is held out with all its tiles and copies, in whatever standard concept they are; one that a concept of
    another kind learns too is never held out. Which are chosen hangs on the seed and on their content alone, so that
    pictures that come or go, or get other names, change little.
    """
    if not share:
        return frozenset()
    standard = [concept.enabled and concept.kind == "standard" for concept in concepts]
    own: defaultdict[int, set[str]] = defaultdict(set)  # a concept's pictures
    for entry in entries:
        own[entry.concept].add(entry.sha256)
    learned_elsewhere = {
        sha256
        for concept, pictures in own.items()
        if concepts[concept].trains and not standard[concept]
        for sha256 in pictures
    }
    left = {concept: _count(len(pictures), share) for concept, pictures in own.items() if standard[concept]}
    chosen: set[str] = set()
    pictures = {entry.sha256: entry for entry in entries if standard[entry.concept]}
    for sha256 in sorted(pictures.keys() - learned_elsewhere, key=lambda one: (_draw(seed, one), one)):
        homes = [concept for concept in left if sha256 in own[concept]]
        if all(left[concept] for concept in homes):
            chosen.add(sha256)
            left |= {concept: left[concept] - 1 for concept in homes}
    return frozenset(index for index, entry in enumerate(entries) if standard[entry.concept] and entry.sha256 in chosen)


def _count(pictures: int, share: float) -> int:
    return min(max(1, round(share * pictures)), pictures - 1)


def _draw(seed: int, sha256: str) -> float:
    return uniform_for(seed, "held out", int(sha256[:15], 16))


def spared(entries: Sequence[Entry], concepts: Sequence[Concept], held: frozenset[int]) -> list[int]:
    """The numbers of the standard concepts of which nothing could be held out."""
    there, touched = {entry.concept for entry in entries}, {entries[index].concept for index in held}
    return [
        number
        for number, concept in enumerate(concepts)
        if number in there - touched and concept.trains and concept.kind == "standard"
    ]
