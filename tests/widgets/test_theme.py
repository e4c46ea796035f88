"""Themes: the same variables in each, text that can be read, a choice that is remembered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from widgets import theme
from widgets.theme import Theme, theme_names, variables

TEXT_ON_GROUND = [
    *[
        (text, ground)
        for text in ("text", "muted", "accent", "problem", "good")
        for ground in ("background", "surface")
    ],
    ("text", "field"),
    ("muted", "field"),
    ("on-accent", "accent"),
    ("problem", "problem-background"),
]


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_four_themes_are_there() -> None:
    assert {"light", "dark", "minimal", "cyberpunk"} <= set(theme_names())


@pytest.mark.parametrize("name", theme_names())
def test_same_variables_and_nothing_unknown(name: str) -> None:
    assert list(variables(name)) == list(variables(theme.DEFAULT))
    used = set(re.findall(r"var\((--ochre-[\w-]+)\)", theme._SHAPE.read_text(encoding="utf-8")))
    assert used <= set(variables(name))


@pytest.mark.parametrize("name", theme_names())
@pytest.mark.parametrize(("text", "ground"), TEXT_ON_GROUND)
def test_text_can_be_read(name: str, text: str, ground: str) -> None:
    colours = variables(name)
    assert contrast(colours[f"--ochre-{text}"], colours[f"--ochre-{ground}"]) >= 4.5


def test_the_choice_is_applied_and_remembered(tmp_path: Path) -> None:
    file = tmp_path / "config" / "theme"
    first = Theme(file)
    cell = first.dress()
    first.name = "cyberpunk"
    assert variables("cyberpunk")["--ochre-accent"] in cell.children[0].value
    assert Theme(file).name == "cyberpunk"


def test_a_choice_that_cannot_be_kept_still_applies(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    chosen = Theme(blocked / "theme")
    chosen.name = "dark"
    assert variables("dark")["--ochre-accent"] in chosen.dress().children[0].value


def test_a_theme_that_is_gone_gives_the_default(tmp_path: Path) -> None:
    (tmp_path / "theme").write_text("neon")
    assert Theme(tmp_path / "theme").name == theme.DEFAULT
