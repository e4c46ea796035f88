"""Small copies of pictures, inside the HTML that shows them, so that they need no server and little room."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from core.dataset.pictures import load_picture
from core.errors import PictureError

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 256
"""Pixels of the longer side, at most."""


def image(path: Path, caption: str = "") -> str:
    """A picture as HTML; words in its place where it can't be read."""
    try:
        source = data_url(path)
    except PictureError as error:  # not there (any more), or no picture
        reason = escape(str(error))
        return f"<figure><figcaption>{escape(path.name)} can't be shown: {reason}</figcaption></figure>"
    return figure(source, caption, caption or path.name)


def figure(source: str, caption: str, words: str) -> str:
    """A picture, given as the data of its address, as HTML. words: what is read in its place."""
    return f'<figure><img src="{source}" alt="{escape(words)}"><figcaption>{escape(caption)}</figcaption></figure>'


def data_url(path: Path, side: int = SIDE) -> str:
    """A small copy of a picture's file as the data of an address. PictureError where it can't be read."""
    try:
        modified = path.stat().st_mtime_ns
    except OSError as error:
        raise PictureError(f"{error.strerror}.") from error
    return _of_file(path, modified, side)


@lru_cache(maxsize=1024)
def _of_file(path: Path, modified: int, side: int) -> str:
    return encoded(load_picture(path), side)


def encoded(picture: Image, side: int = SIDE) -> str:
    """A small copy of a picture as the data of an address. side: of the longer side, in pixels, at most."""
    from PIL import Image

    small = picture.convert("RGB")
    small.thumbnail((side, side))
    if max(small.size) <= side // 2:  # tiny pictures stay crisp
        small = small.resize((small.width * 2, small.height * 2), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def grid(prompts: Sequence[str], columns: Mapping[str, Sequence[Path | None]]) -> str:
    """Sample pictures as HTML: a card for each prompt, in it a picture of each column (label -> one per prompt).

    None where there is no picture.
    """
    cards = []
    for index, prompt in enumerate(prompts):
        found = {label: paths[index] for label, paths in columns.items()}
        shown = "".join(image(path, label) for label, path in found.items() if path)
        cards.append(
            f'<div class="ochre-sample"><div class="pair">{shown}</div><div class="prompt">{escape(prompt)}</div></div>'
        )
    return f'<div class="ochre-samples">{"".join(cards)}</div>' if cards else ""
