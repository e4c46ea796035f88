"""The examples of docs/captions.md are what the program makes."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.dataset.caption_files import caption_in_name
from core.dataset.captions import CaptionDraw, caption_for
from core.dataset.settings import Concept, ConceptText

PAGE = (Path(__file__).parents[3] / "docs/captions.md").read_text(encoding="utf-8")
CAPTION = "girl, red hat, long hair, smile"


def rows(heading: str) -> list[list[list[str]]]:
    """The table under a heading: rows of cells, each with the pieces of code in it."""
    section = PAGE.split(f"# {heading}\n", 1)[1].split("\n#", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][2:]
    return [[_code(cell) for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def _code(cell: str) -> list[str]:
    """What has backticks around it; in a table `\\|` is a bar."""
    return [code.replace("\\|", "|") for code in re.findall(r"`([^`]*)`", cell)]


def shown(settings: list[str], captions: list[str], kept: bool = False) -> list[str]:
    """The first four showings."""
    concept = {"trigger_word": "sks", **{k: v for item in settings for k, v in tomllib.loads(item).items()}}
    own = {name: concept.pop(name) for name in list(concept) if name in ConceptText.model_fields}
    made = Concept(**concept, text=ConceptText(**own))
    draws = (CaptionDraw(1, 7, times, 0, times, kept) for times in range(4))
    return [caption_for(made, captions, draw) or "(empty)" for draw in draws]


def _short(captions: list[str]) -> list[str]:
    return captions[:1] if len(set(captions)) == 1 else captions


def examples() -> Iterator[tuple[list[str], list[str], list[str], bool]]:
    for caption, result in rows("Always"):
        yield [], caption, result, False
    for settings, result in rows("One setting each"):
        own = [item for item in settings if "=" in item]
        captions = [item for item in settings if "=" not in item]
        yield own, captions or [CAPTION], result, False
    for settings, result in rows("Versions that are kept"):
        yield settings, [CAPTION], result, True


@pytest.mark.parametrize(("settings", "captions", "result", "kept"), examples())
def test_each_example(settings: list[str], captions: list[str], result: list[str], kept: bool) -> None:
    assert _short(shown(settings, captions, kept)) == result


def test_the_names() -> None:
    found = {name[0]: caption for name, caption in rows("File names")}
    assert len(found) == 12
    assert {name: [made] if (made := caption_in_name(Path(name).stem)) else [] for name in found} == found


def test_every_setting_of_captions_is_on_the_page() -> None:
    missing = [name for name in ConceptText.model_fields if not re.search(rf"\b{name}\b", PAGE)]
    assert not missing
    assert len(list(examples())) > 25
