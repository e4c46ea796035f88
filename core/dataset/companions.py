"""What lies beside a picture: its mask and its conditioning picture, known by their names."""

from __future__ import annotations

from pathlib import Path

from core.contracts import Size

MASK_ENDING, CONDITIONING_ENDING = "-masklabel", "-condlabel"
"""What the name of a mask, or of a conditioning picture, adds to that of its picture; both are PNG files."""


def mask_path(path: Path | str) -> Path:
    """Where the mask of a picture lies: `cat-masklabel.png` beside `cat.jpg`. White is what counts."""
    return _named(path, MASK_ENDING)


def conditioning_path(path: Path | str) -> Path:
    """Where the conditioning picture of a picture lies: `cat-condlabel.png` beside `cat.jpg`."""
    return _named(path, CONDITIONING_ENDING)


def is_companion(path: Path | str) -> bool:
    """Whether a file's name says that it is the mask or the conditioning picture of another."""
    return Path(path).stem.endswith((MASK_ENDING, CONDITIONING_ENDING))


def check_companion(path: Path | str, size: Size, other: Path | str, its: Size) -> str:
    """What is wrong with a mask or conditioning picture `other` of size `its`; empty: nothing."""
    if its == size:
        return ""
    return f"{path} has {size} pixels, but {other} has {its}. Both must have the same size."


def _named(path: Path | str, ending: str) -> Path:
    path = Path(path)
    return path.with_name(f"{path.stem}{ending}.png")
