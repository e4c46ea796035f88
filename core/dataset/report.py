"""The report on a data set: what became of every picture, and what the concepts hold, in numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from core.dataset.batches import Plan

CountTokens = Callable[[str], int]
"""How many tokens a text encoder makes of a caption, without those that mark its start and end."""


@dataclass(frozen=True)
class Run:
    """What the report needs to know of the run besides its pictures.

    plan: the order in which they are shown; None where nothing can be shown. keeps_images, keeps_text: whether versions
    of pictures and captions are encoded once and kept. token_limit: tokens of a caption that are used. count_tokens:
    without it, tokens are not counted.
    """

    plan: Plan | None = None
    keeps_images: bool = True
    keeps_text: bool = True
    token_limit: int = 75
    count_tokens: CountTokens | None = None


@dataclass(frozen=True, slots=True)
class PictureFate:
    """What became of one picture.

    name: folder and file. concept: index into the config's. used: whether it is shown. why: why it is left out, or what
    else is to be known. width, height, bytes: of the file; 0 where it couldn't be read. buckets: the sizes that the
    whole picture is shown at, as width x height; none where only its tiles are. factors: what its sides are multiplied
    by for each of them. caption: the first words that it is shown with. tokens: of its longest caption; None where they
    weren't counted. tiles, blank: tiles that are kept, and that are not. mask: `file`, `alpha` or nothing.
    weight: how much it counts in the loss beside its concept's others.
    """

    name: str
    path: str
    concept: int
    used: bool
    why: str = ""
    width: int = 0
    height: int = 0
    bytes: int = 0
    buckets: tuple[str, ...] = ()
    factors: tuple[float, ...] = ()
    caption: str = ""
    tokens: int | None = None
    tiles: int = 0
    blank: int = 0
    mask: str = ""
    conditioning: bool = False
    weight: float = 1.0


@dataclass(frozen=True)
class SizeFacts:
    """The sizes of a concept's used pictures. smallest, largest: by area; width x height, and the picture's name."""

    smallest: tuple[str, str] = ("", "")
    mean_width: float = 0.0
    mean_height: float = 0.0
    largest: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class CaptionFacts:
    """The captions of a concept's used pictures.

    missing: pictures without any. empty: pictures whose captions are all empty. several: pictures with more than one.
    lines: captions in the prompt file. shortest, mean, longest: in tokens, as they are shown; None where not counted.
    cut: names of pictures (or the lines) whose caption is longer than the limit. tags: how many captions have each,
    the most frequent first; captions in sentences don't count. orphans, unread: caption files that belong to no
    picture, or are not read.
    """

    with_text: int = 0
    missing: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    several: int = 0
    lines: int = 0
    shortest: int | None = None
    mean: float | None = None
    longest: int | None = None
    cut: list[str] = field(default_factory=list)
    tags: dict[str, int] = field(default_factory=dict)
    orphans: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ConceptFacts:
    """One concept in numbers.

    pictures: files that are pictures. used: those that are shown. tiles, blank: as in PictureFate, summed. bytes,
    pixels: of the used ones. masks, conditionings: used pictures that have one. weighted: those with
    a loss weight of their own. smaller: pictures that are enlarged for
    a bucket. unpaired: masks and conditioning pictures without picture. hidden, others, subfolders, again: what was
    passed over. advice: settings that don't fit each other.
    """

    index: int
    name: str
    folder: str
    kind: str
    repeats: float
    samples_per_epoch: int
    pictures: int
    used: int
    tiles: int
    blank: int
    bytes: int
    pixels: int
    masks: int
    conditionings: int
    weighted: int
    sizes: SizeFacts
    captions: CaptionFacts
    smaller: list[str]
    unpaired: list[str]
    hidden: list[str]
    others: list[str]
    subfolders: list[str]
    again: list[str]
    advice: list[str]


@dataclass(frozen=True)
class BucketFacts:
    """One size, as width x height.

    resolution: the smallest of the run's, the concepts' and the tiles' that has its area; 0 where none has. pictures,
    tiles: how many have it. shown: how often it is shown in the first epoch; None where nothing can be shown.
    """

    size: str
    resolution: int
    pictures: int
    tiles: int
    shown: int | None


@dataclass(frozen=True)
class DatasetReport:
    """All there is to say of a data set.

    copies: groups of equal files. alike: groups of pictures that look nearly the same (fingerprints that differ in at
    most `alike_bits` of 64 bits). remainder: what becomes of pictures that fill no batch. warnings: what else is
    worth a look. problems: what stops a run.
    """

    concepts: list[ConceptFacts]
    pictures: list[PictureFate]
    buckets: list[BucketFacts]
    copies: list[list[str]]
    alike: list[list[str]]
    alike_bits: int
    token_limit: int
    remainder: list[str]
    warnings: list[str]
    problems: list[str]

    @property
    def left_out(self) -> list[PictureFate]:
        """The pictures that can't be used."""
        return [picture for picture in self.pictures if not picture.used]

    @property
    def all_used(self) -> bool:
        """Whether there is nothing that can't be used."""
        return not self.problems and not self.left_out

    def to_json(self) -> str:
        """The whole report as a JSON file's text."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1)

    def to_text(self, most: int = 40) -> str:
        """The report for a terminal. Of the used pictures the first `most` are listed, of the others all."""
        from core.dataset.report_text import report_text

        return report_text(self, most)
