"""Masks and conditioning pictures are known by their names and have their picture's size."""

from __future__ import annotations

from pathlib import Path

from core.contracts import Size
from core.dataset.companions import check_companion, conditioning_path, is_companion, mask_path


def test_names() -> None:
    assert mask_path("a/b.c.jpg") == Path("a/b.c-masklabel.png")
    assert conditioning_path(Path("a/b.webp")) == Path("a/b-condlabel.png")
    assert is_companion("a/b-masklabel.png")
    assert is_companion(Path("b-condlabel.png"))
    assert not is_companion("masklabel.png")
    assert not is_companion("a-masklabel/b.png")


def test_sizes() -> None:
    assert check_companion("a.png", Size(8, 8), "b.png", Size(8, 8)) == ""
    problem = check_companion("a.png", Size(height=8, width=9), "b.png", Size(height=9, width=8))
    assert "a.png has 9x8" in problem
    assert "b.png has 8x9" in problem
