"""Makes the report on a data set from what was found in its folders."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.contracts import Size
from core.dataset.captions import CaptionDraw, caption_for, is_prose, tags_of
from core.dataset.duplicates import NEAR, near_groups
from core.dataset.folders import Passed, why_foreign
from core.dataset.found import Picture, Survey
from core.dataset.looks import Look
from core.dataset.manifest import Entry
from core.dataset.report import (
    BucketFacts,
    CaptionFacts,
    ConceptFacts,
    CountTokens,
    DatasetReport,
    PictureFate,
    Run,
    SizeFacts,
)
from core.dataset.settings import Buckets, Concept
from core.dataset.survey import COPIES
from core.dataset.text_files import printable
from core.dataset.tiles import TilesFound, why_whole
from core.dataset.views import varies

HELD_OUT = "held out: measured, not learned"

_FIRST_WORDS = 60  # letters


def make_report(found: Survey, buckets: Buckets, run: Run = Run()) -> DatasetReport:  # noqa: B008 - it is frozen
    """The report on what a survey found."""
    reasons = {note.path: note.reason for note in found.left_out}
    entries: defaultdict[tuple[int, str], list[Entry]] = defaultdict(list)
    for entry in found.entries:
        entries[entry.concept, entry.path].append(entry)
    gathered = {passed.index: _Gathered(found, passed, run) for passed in found.passed}
    fates = []
    for picture in found.pictures:
        own = entries.get((picture.concept, picture.path), [])
        fates.append(gathered[picture.concept].take(picture, own, reasons.get(printable(picture.path), "")))
    foreign = [fate for passed in found.passed for fate in _foreign(passed)]
    copies, alike = _duplicates(found.pictures, {fate.path: fate.name for fate in fates})
    return DatasetReport(
        concepts=[concept.facts() for concept in gathered.values()],
        pictures=fates + foreign,
        buckets=_buckets(found, buckets, run),
        copies=copies,
        alike=alike,
        alike_bits=NEAR,
        token_limit=run.token_limit,
        remainder=run.plan.remainder_notes() if run.plan else [],
        warnings=[warning for warning in found.warnings if not warning.startswith(COPIES)],
        problems=list(found.problems),
    )


@dataclass
class _Gathered:
    """One concept's facts, gathered picture after picture."""

    found: Survey
    passed: Passed
    run: Run
    counts: Counter[str] = field(default_factory=Counter)
    tags: Counter[str] = field(default_factory=Counter)
    tokens: list[int] = field(default_factory=list)
    names: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    smallest: PictureFate | None = None
    largest: PictureFate | None = None

    def __post_init__(self) -> None:
        self.concept = self.found.concepts[self.passed.index]
        self.words = _Words(self.concept, self.run.count_tokens)
        plan = self.run.plan
        self.held_out = {plan.entries[index].sha256 for index in plan.held_out} if plan else set[str]()
        lines = self.found.lines.get(self.passed.index, ())
        for number, line in enumerate(lines, start=1):
            self._take_caption(line, f"line {number}")

    def take(self, picture: Picture, entries: Sequence[Entry], reason: str) -> PictureFate:
        """Count a picture, and say what became of it."""
        fate = self._fate(picture, entries, reason)
        self.counts["pictures"] += 1
        if not fate.used:
            return fate
        self.counts.update(
            used=1,
            tiles=fate.tiles,
            blank=fate.blank,
            bytes=fate.bytes,
            pixels=fate.width * fate.height,
            width=fate.width,
            height=fate.height,
            masks=bool(fate.mask),
            conditionings=fate.conditioning,
            weighted=fate.weight != 1,
        )
        area = fate.width * fate.height
        if self.smallest is None or area < self.smallest.width * self.smallest.height:
            self.smallest = fate
        if self.largest is None or area > self.largest.width * self.largest.height:
            self.largest = fate
        if any(factor > 1 for factor in fate.factors):
            self.names["smaller"].append(fate.name)
        return fate

    def _fate(self, picture: Picture, entries: Sequence[Entry], reason: str) -> PictureFate:
        look = picture.look
        name = _name(self.passed, picture.path)
        path = printable(picture.path)
        if not entries:
            return PictureFate(name, path, picture.concept, False, reason, look.width, look.height, look.bytes)
        first, image = entries[0], self.concept.image
        sizes = [size for entry in entries if entry.tile is None for size in entry.buckets]
        caption, tokens = self._captions(first, name)
        notes = [look.converted] if look.converted else []
        if first.sha256 in self.held_out and self.concept.kind == "standard":
            notes.append(HELD_OUT)
        if look.tiles is not None and not look.tiles.kept:
            notes.append(why_whole(look.size, look.tiles, image.detail_crops))
        tiles = look.tiles or TilesFound()
        return PictureFate(
            name=name,
            path=path,
            concept=picture.concept,
            used=True,
            why="; ".join(notes),
            width=look.width,
            height=look.height,
            bytes=look.bytes,
            buckets=tuple(str(size) for size in sizes),
            factors=tuple(_factor(look.size, size) for size in sizes),
            caption=caption,
            tokens=tokens,
            tiles=len(tiles.kept),
            blank=tiles.blank,
            mask="file" if first.mask else "alpha" if image.mask == "alpha" and look.transparent else "",
            conditioning=bool(first.conditioning),
            weight=first.weight,
        )

    def _captions(self, entry: Entry, name: str) -> tuple[str, int | None]:
        """The first words of a picture's caption, and the tokens of its longest."""
        if self.passed.index in self.found.lines:
            return f"(one of {self.counts['lines']:,} lines)", None
        if not entry.captions:
            self.names["missing"].append(name)
        elif not any(entry.captions):
            self.names["empty"].append(name)
        else:
            self.counts["with_text"] += 1
        self.counts["several"] += len(entry.captions) > 1
        counted = [self._take_caption(caption, name) for caption in entry.captions or ("",)]
        shown = self.words.shown((entry.captions or ("",))[0])
        known = [count for count in counted if count is not None]
        return _first_words(shown), max(known, default=None)

    def _take_caption(self, caption: str, name: str) -> int | None:
        """Count a caption's tags and tokens."""
        self.counts["lines"] += 1
        separator = self.concept.text.separator
        if caption and not is_prose(caption, separator):
            self.tags.update(set(tags_of(caption, separator)))
        tokens = self.words.tokens(caption)
        if tokens is not None:
            self.tokens.append(tokens)
            if tokens > self.run.token_limit and name not in self.names["cut"][-1:]:
                self.names["cut"].append(name)
        return tokens

    def facts(self) -> ConceptFacts:
        """The concept in numbers."""
        concept, counts, passed = self.concept, self.counts, self.passed
        return ConceptFacts(
            index=passed.index,
            name=concept.name or Path(passed.path).name,
            folder=printable(passed.path),
            kind=concept.kind,
            repeats=concept.repeats,
            samples_per_epoch=concept.samples_per_epoch,
            pictures=counts["pictures"] + len(passed.foreign),
            used=counts["used"],
            tiles=counts["tiles"],
            blank=counts["blank"],
            bytes=counts["bytes"],
            pixels=counts["pixels"],
            masks=counts["masks"],
            conditionings=counts["conditionings"],
            weighted=counts["weighted"],
            sizes=self._sizes(),
            captions=self._caption_facts(),
            smaller=self.names["smaller"],
            unpaired=passed.unpaired,
            hidden=passed.hidden,
            others=passed.others,
            subfolders=passed.subfolders,
            again=passed.again,
            advice=list(advice(concept, self.run)),
        )

    def _sizes(self) -> SizeFacts:
        smallest, largest, used = self.smallest, self.largest, self.counts["used"]
        if smallest is None or largest is None:
            return SizeFacts()
        return SizeFacts(
            (f"{smallest.width}x{smallest.height}", smallest.name),
            self.counts["width"] / used,
            self.counts["height"] / used,
            (f"{largest.width}x{largest.height}", largest.name),
        )

    def _caption_facts(self) -> CaptionFacts:
        tokens = self.tokens
        return CaptionFacts(
            with_text=self.counts["with_text"],
            missing=self.names["missing"],
            empty=self.names["empty"],
            several=self.counts["several"],
            lines=len(self.found.lines.get(self.passed.index, ())),
            shortest=min(tokens, default=None),
            mean=math.fsum(tokens) / len(tokens) if tokens else None,
            longest=max(tokens, default=None),
            cut=self.names["cut"],
            tags=dict(sorted(self.tags.items(), key=lambda item: (-item[1], item[0]))),
            orphans=self.passed.orphans,
            unread=self.passed.unread,
        )


class _Words:
    """A concept's captions as they are shown when nothing is dropped or shuffled."""

    def __init__(self, concept: Concept, count: CountTokens | None) -> None:
        still = {"shuffle_tags": False, "tag_dropout": "off", "caption_dropout": 0.0, "caps": []}
        self._concept = concept.model_copy(update={"text": concept.text.model_copy(update=still)})
        self._count = count
        self._counted: dict[str, int] = {}

    def shown(self, caption: str) -> str:
        """With the trigger word, prefix and suffix."""
        return caption_for(self._concept, (caption,), CaptionDraw(0, 0, 0, 0, 0, kept=True))

    def tokens(self, caption: str) -> int | None:
        """Of the caption as it is shown; None where they aren't counted."""
        if self._count is None:
            return None
        if caption not in self._counted:
            self._counted[caption] = self._count(self.shown(caption))
        return self._counted[caption]


def _name(passed: Passed, path: str) -> str:
    """Folder and file."""
    folder = Path(passed.path)
    return printable(f"{folder.name}/{Path(path).relative_to(folder).as_posix()}")


def _first_words(caption: str) -> str:
    if len(caption) <= _FIRST_WORDS:
        return caption
    words = caption[:_FIRST_WORDS].rsplit(" ", 1)[0]
    return f"{words} ..."


def _factor(picture: Size, bucket: Size) -> float:
    """What the picture's sides are multiplied by to cover its bucket."""
    return round(max(bucket.width / picture.width, bucket.height / picture.height), 4)


def _foreign(passed: Passed) -> Iterator[PictureFate]:
    folder = Path(passed.path)
    for name in passed.foreign:
        path = str(folder / name)
        yield PictureFate(f"{folder.name}/{name}", path, passed.index, False, why_foreign(path))


def advice(concept: Concept, run: Run) -> Iterator[str]:
    """Changes that are switched on, and of which only one version is kept; and versions of what never changes."""
    for changes, kept, count, what, setting, cache in (
        (varies(concept.image), run.keeps_images, concept.image_variations, "picture", "image_variations", "latent"),
        (concept.text.varies, run.keeps_text, concept.text_variations, "caption", "text_variations", "text"),
    ):
        title = Concept.model_fields[setting].title
        if changes and kept and count == 1:
            yield (
                f"Each {what} is changed at random, but only one version of it is kept, so it always looks the same. "
                f"Set '{title}' ({setting}) to 4 or so, or don't cache {what}s ({cache}_caching = false)."
            )
        if not changes and count > 1:
            yield f"{setting} is {count}, but nothing changes a {what}: its versions are all equal."


def _buckets(found: Survey, settings: Buckets, run: Run) -> list[BucketFacts]:
    pictures: Counter[Size] = Counter()
    tiles: Counter[Size] = Counter()
    for entry in found.entries:
        (tiles if entry.tile else pictures).update(entry.buckets)
    shown = run.plan.bucket_counts(0) if run.plan else None
    resolutions = {resolution for concept in found.concepts for resolution in settings.resolutions(concept)}
    areas = {resolution.width * resolution.height for resolution in resolutions}
    areas |= {entry.tile.side**2 for entry in found.entries if entry.tile}
    return [
        BucketFacts(
            str(size),
            math.isqrt(min((area for area in areas if area >= size.area), default=0)),
            pictures[size],
            tiles[size],
            None if shown is None else shown[size],
        )
        for size in found.bucket_counts()
    ]


def _duplicates(pictures: Sequence[Picture], names: dict[str, str]) -> tuple[list[list[str]], list[list[str]]]:
    """Groups of equal files, and of pictures that look nearly the same; a file that two concepts share counts once."""
    same: defaultdict[str, list[str]] = defaultdict(list)
    looks: dict[str, Look] = {}
    seen: set[str] = set()
    for picture in pictures:
        if picture.look.sha256 and picture.path not in seen:
            seen.add(picture.path)
            same[picture.look.sha256].append(names[printable(picture.path)])
            looks[picture.look.sha256] = picture.look
    copies = [group for group in same.values() if len(group) > 1]
    names_of = list(same.values())
    groups = near_groups([look.fingerprint for look in looks.values()], [look.colours for look in looks.values()])
    return copies, [[names_of[index][0] for index in group] for group in groups]
