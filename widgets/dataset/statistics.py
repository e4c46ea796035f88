"""One concept in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import islice

import ipywidgets as ipw

from core.dataset.report import CaptionFacts, ConceptFacts, DatasetReport, PictureFate
from widgets.bars import bars
from widgets.dataset.look import Look
from widgets.dataset.overview import listed, pictures
from widgets.report import Report
from widgets.wording import facts, file_size, note

TAGS_SHOWN = 30


class Statistics:
    """The numbers of one concept, and a button that counts again.

    index: gives the concept's place in the config.
    """

    def __init__(self, look: Look, index: Callable[[], int]) -> None:
        self._look, self._index = look, index
        self._report = Report()
        again = ipw.Button(description="Count again", icon="refresh", _dom_classes=("ochre-quiet",))
        again.on_click(lambda _: self._show(fresh=True))
        self.widget = ipw.VBox([self._report.widget, again])

    def refresh(self) -> None:
        """Show the numbers; counted again where the settings have changed."""
        self._show(fresh=False)

    def _show(self, fresh: bool) -> None:
        index, look = self._index(), self._look.again if fresh else self._look.latest
        self._report.show_later(lambda: statistics(look().report, index), "Counting ...")


def statistics(report: DatasetReport, index: int) -> str:
    """What the report says of one of the config's concepts, as HTML."""
    concept = next((concept for concept in report.concepts if concept.index == index), None)
    if concept is None:
        return note("There are no numbers.", "The concept is switched off, or its folder can't be read.")
    own = [picture for picture in report.pictures if picture.concept == index]
    captions = concept.captions
    in_words = f"<div>{_of_pictures(concept)}</div><div>{_of_captions(report, captions)}</div>"
    return (
        f'<div class="ochre-columns">{in_words}</div>'
        + listed("Worth a look", concept.advice)
        + '<div class="ochre-columns">'
        + bars(_sizes(own), "Sizes that they are brought to")
        + bars(dict(islice(captions.tags.items(), TAGS_SHOWN)), _tags_title(captions), shown=12)
        + "</div>"
        + _lists(report, concept, own)
    )


def _of_pictures(concept: ConceptFacts) -> str:
    sizes = concept.sizes
    mean = f"{sizes.mean_width:.0f}x{sizes.mean_height:.0f}" if concept.used else ""
    lost = concept.pictures - concept.used
    return facts(
        {
            "Pictures": pictures(concept.used) + (f", and {lost:,} left out" if lost else ""),
            "Tiles": f"{concept.tiles:,}, and {concept.blank:,} blank ones left out" if concept.tiles else "",
            "On disk": file_size(concept.bytes),
            "Smallest": f"{sizes.smallest[0]}, {sizes.smallest[1]}" if concept.used else "",
            "Mean size": mean,
            "Largest": f"{sizes.largest[0]}, {sizes.largest[1]}" if concept.used else "",
            "Smaller than their bucket": f"{len(concept.smaller):,}",
            "Masks": f"{concept.masks:,}" if concept.masks else "",
            "Conditioning pictures": f"{concept.conditionings:,}" if concept.conditionings else "",
            "With a loss weight of their own": f"{concept.weighted:,}" if concept.weighted else "",
        }
    )


def _of_captions(report: DatasetReport, captions: CaptionFacts) -> str:
    limit = report.token_limit
    tokens = ""
    if captions.longest is not None:
        tokens = f"{captions.shortest} to {captions.longest}, {captions.mean:.0f} on average; {limit} are used"
    return facts(
        {
            "Captions": f"{captions.with_text:,} pictures have one",
            "Lines to draw from": f"{captions.lines:,}" if captions.lines else "",
            "Missing": f"{len(captions.missing):,}",
            "Empty": f"{len(captions.empty):,}",
            "Several": f"{captions.several:,} pictures" if captions.several else "",
            "Tokens": tokens,
            "Too long": f"{len(captions.cut):,}" if captions.longest is not None else "",
        }
    )


def _sizes(own: list[PictureFate]) -> dict[str, int]:
    counts = Counter(size for picture in own for size in picture.buckets)
    return dict(sorted(counts.items(), key=lambda item: tuple(map(int, item[0].split("x")))))


def _tags_title(captions: CaptionFacts) -> str:
    more = len(captions.tags) > TAGS_SHOWN
    return f"Tags, the first {TAGS_SHOWN} of {len(captions.tags):,}" if more else "Tags"


def _lists(report: DatasetReport, concept: ConceptFacts, own: list[PictureFate]) -> str:
    names = {picture.name for picture in own}
    captions = concept.captions
    return (
        listed("Left out", (f"{fate.name}: {fate.why}" for fate in own if not fate.used), "bad")
        + listed("No caption", captions.missing)
        + listed("Empty caption", captions.empty)
        + listed(f"Captions longer than {report.token_limit} tokens", captions.cut)
        + listed("Smaller than their bucket, so they are enlarged", concept.smaller)
        + listed("The same picture more than once", _among(report.copies, names))
        + listed("Pictures that look nearly the same", _among(report.alike, names))
        + listed("Masks and conditioning pictures without picture", concept.unpaired)
        + listed("Captions without picture", captions.orphans)
        + listed("Caption files that aren't read", captions.unread)
        + listed("Subfolders that aren't looked into", concept.subfolders)
        + listed("Links to what was listed already", concept.again)
        + listed("Other files, passed over", concept.others)
        + listed("Hidden files, passed over", concept.hidden)
    )


def _among(groups: list[list[str]], names: set[str]) -> list[str]:
    """The groups in which there is one of these names."""
    return [", ".join(group) for group in groups if names & {*group}]
