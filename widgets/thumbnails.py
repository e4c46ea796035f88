"""Small copies of pictures, inside the HTML that shows them, so that they need no server and little room."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from html import escape
from pathlib import Path

SIDE = 256
"""Pixels of the longer side, at most."""


def image(path: Path, caption: str = "") -> str:
    """A picture as HTML; words in its place where it can't be read."""
    words = escape(caption or path.name)
    try:
        source = _data_url(path, path.stat().st_mtime_ns)
    except OSError as error:  # not there (any more), or no picture
        reason = escape(str(error.strerror or error))
        return f"<figure><figcaption>{escape(path.name)} can't be shown: {reason}</figcaption></figure>"
    return f'<figure><img src="{source}" alt="{words}"><figcaption>{escape(caption)}</figcaption></figure>'


@lru_cache(maxsize=256)
def _data_url(path: Path, modified: int) -> str:
    from PIL import Image

    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    if max(small.size) <= SIDE // 2:  # tiny pictures stay crisp
        small = small.resize((small.width * 2, small.height * 2), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def grid(prompts: Sequence[str], columns: Mapping[str, Sequence[Path]]) -> str:
    """Sample pictures as HTML: a card for each prompt, in it a picture of each column (label -> one per prompt)."""
    cards = []
    for index, prompt in enumerate(prompts):
        shown = "".join(image(paths[index], label) for label, paths in columns.items() if index < len(paths))
        cards.append(
            f'<div class="ochre-sample"><div class="pair">{shown}</div><div class="prompt">{escape(prompt)}</div></div>'
        )
    return f'<div class="ochre-samples">{"".join(cards)}</div>' if cards else ""
