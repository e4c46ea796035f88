"""Writes the report on a data set as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.dataset.found import counted
from core.dataset.report import BucketFacts, CaptionFacts, ConceptFacts, DatasetReport, PictureFate

_BAR = 40  # cells of the longest bar
_NAMED = 5
_TAGS = 12


def report_text(report: DatasetReport, most: int) -> str:
    """The whole report; of the used pictures, only the first `most` are listed."""
    sections = [
        _title(report),
        *(_concept(concept, report.token_limit) for concept in report.concepts),
        _buckets(report.buckets),
        _section("What doesn't fill a batch", report.remainder),
        _pictures("Left out", report.left_out, len(report.pictures)),
        _pictures("Used", [picture for picture in report.pictures if picture.used], most),
        _section("The same file more than once", [" = ".join(names) for names in report.copies]),
        _section(
            f"Nearly the same (fingerprints that differ in at most {report.alike_bits} of 64 bits)",
            [" ~ ".join(names) for names in report.alike],
        ),
        _section("Worth a look", report.warnings),
        _section("This stops a run", report.problems),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _title(report: DatasetReport) -> str:
    used, left_out = len(report.pictures) - len(report.left_out), len(report.left_out)
    ending = f", {left_out:,} left out" if left_out else ""
    return f"{counted(len(report.pictures), 'picture')}: {used:,} used{ending}"


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines)]) if lines else ""


def _concept(concept: ConceptFacts, limit: int) -> str:
    """One concept in numbers; what lies in its folder besides is among the warnings."""
    rows = [
        ("folder", concept.folder),
        ("pictures", _counts(concept)),
        ("shown", _shown(concept)),
        *_sizes(concept),
        *_captions(concept.captions, concept.used, limit),
        *_beside(concept),
        ("smaller", _named(concept.smaller, "smaller than a bucket, so enlarged")),
        ("hidden", _named(concept.hidden, "passed over")),
        *(("advice", line) for line in concept.advice),
    ]
    lines = [f"{label:<14}{text}" for label, text in rows if text]
    return _section(f"Concept {concept.index + 1}: {concept.name} ({concept.kind.replace('_', ' ')})", lines)


def _counts(concept: ConceptFacts) -> str:
    left_out = concept.pictures - concept.used
    parts = [f"{concept.pictures:,} found", f"{concept.used:,} used"]
    parts += [f"{left_out:,} left out"] if left_out else []
    return f"{', '.join(parts)}; {_bytes(concept.bytes)}, {concept.pixels / 1e6:,.2f} megapixels"


def _shown(concept: ConceptFacts) -> str:
    if concept.kind == "validation":
        return "not learned, only measured"
    if concept.samples_per_epoch:
        return f"{concept.samples_per_epoch:,} in each epoch, in turn"
    return "each once in an epoch" if concept.repeats == 1 else f"each {concept.repeats:g} times in an epoch"


def _sizes(concept: ConceptFacts) -> Iterator[tuple[str, str]]:
    sizes = concept.sizes
    if concept.used:
        mean = f"mean {sizes.mean_width:,.0f}x{sizes.mean_height:,.0f}"
        smallest, largest = (f"{size} ({name})" for size, name in (sizes.smallest, sizes.largest))
        yield "sizes", f"smallest {smallest}, {mean}, largest {largest}"
    if concept.tiles or concept.blank:
        yield "tiles", f"{concept.tiles:,} kept, {concept.blank:,} blank"


def _captions(captions: CaptionFacts, used: int, limit: int) -> Iterator[tuple[str, str]]:
    if captions.lines:
        yield "captions", f"{captions.lines:,} lines in the prompt file, of which each picture draws one"
    else:
        several = f", {captions.several:,} with several" if captions.several else ""
        counts = f"{captions.with_text:,} with text{several}, {len(captions.empty):,} empty"
        yield "captions", f"of {counted(used, 'picture')}: {counts}, {len(captions.missing):,} missing"
    if captions.longest is not None:
        lengths = f"shortest {captions.shortest}, mean {captions.mean:.1f}, longest {captions.longest} of {limit}"
        yield "tokens", lengths
        yield "too long", _named(captions.cut, f"longer than {limit} tokens, so cut off")
    if captions.tags:
        tags = list(captions.tags.items())
        more = f" and {len(tags) - _TAGS:,} more" if len(tags) > _TAGS else ""
        yield "tags", ", ".join(f"{tag} {count:,}" for tag, count in tags[:_TAGS]) + more


def _beside(concept: ConceptFacts) -> Iterator[tuple[str, str]]:
    if concept.masks:
        yield "masks", f"for {concept.masks:,} of {counted(concept.used, 'picture')}"
    if concept.conditionings:
        yield "conditioning", f"for {concept.conditionings:,} of {counted(concept.used, 'picture')}"
    if concept.weighted:
        yield "loss weights", f"of their own for {concept.weighted:,} of {counted(concept.used, 'picture')}"


def _named(names: Sequence[str], what: str) -> str:
    """How many, what they are, and the first names."""
    if not names:
        return ""
    more = len(names) - _NAMED
    return f"{len(names):,} {what}: {', '.join(names[:_NAMED])}" + (f" and {more:,} more" if more > 0 else "")


def _bytes(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"


def _buckets(buckets: Sequence[BucketFacts]) -> str:
    most = max((bucket.pictures + bucket.tiles for bucket in buckets), default=0)
    lines = []
    for bucket in buckets:
        count = bucket.pictures + bucket.tiles
        what = f" ({counted(bucket.tiles, 'tile')})" if bucket.tiles else ""
        shown = "" if bucket.shown is None or bucket.shown == count else f", shown in the first epoch: {bucket.shown:,}"
        bar = "█" * max(1, round(_BAR * count / most))
        lines.append(f"{bucket.size:>10}  at {bucket.resolution:<5}{bar} {count:,}{what}{shown}")
    return _section("Buckets", lines)


def _pictures(title: str, pictures: Sequence[PictureFate], most: int) -> str:
    width = min(40, max((len(picture.name) for picture in pictures[:most]), default=0))
    lines = [f"{picture.name:<{width}}  {_fate(picture)}" for picture in pictures[:most]]
    more = len(pictures) - most
    if more > 0:
        lines.append(f"... and {more:,} more: --all lists them, and so does the JSON file")
    return _section(title, lines)


def _fate(picture: PictureFate) -> str:
    if not picture.used:
        return picture.why
    sizes = zip(picture.buckets, picture.factors, strict=True)
    whole = ", ".join(f"{size} (x{factor:.2f})" for size, factor in sizes) or "only as tiles"
    parts = [f"{picture.width}x{picture.height} -> {whole}"]
    if picture.tiles or picture.blank:
        parts.append(f"{counted(picture.tiles, 'tile')}, {picture.blank:,} blank")
    parts += [f"mask: {picture.mask}"] if picture.mask else []
    parts += ["conditioning picture"] if picture.conditioning else []
    tokens = "" if picture.tokens is None else f" ({counted(picture.tokens, 'token')})"
    parts.append(f'"{picture.caption}"{tokens}')
    parts += [picture.why] if picture.why else []
    return "; ".join(parts)
