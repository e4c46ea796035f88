"""The cover picture: a small copy of a sample, or of a picture of the user's, inside the LoRA's file."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from core.config.sections.metadata import LAST_SAMPLE, OFF, Metadata
from core.errors import OchreError, Problem
from core.training.events import Message, Sampled, read_events

if TYPE_CHECKING:
    from core.config.lora import LoraConfig
    from core.training.setup import Run

SIDE = 256
"""The longer side, in pixels, at most; what ModelSpec recommends for thumbnails."""


def cover_problems(config: LoraConfig) -> Iterator[Problem]:
    """What is wrong with a cover picture that the user chose."""
    chosen = config.metadata.cover
    if chosen in Metadata.COVERS:
        return
    try:
        data_url(Path(chosen))
    except OchreError as error:
        known = ", ".join(Metadata.COVERS)
        yield Problem("metadata.cover", f"{chosen}: {error.why} Choose a picture, or one of: {known}")


def cover_of(run: Run) -> str:
    """The cover picture as a data URL; empty where there is none. A picture that can't be read is told."""
    chosen = run.config.metadata.cover
    path = last_sample(run) if chosen == LAST_SAMPLE else Path(chosen)
    if chosen == OFF or path is None:
        return ""
    try:
        return data_url(path)
    except OchreError as error:
        run.report(Message(level="warning", text=f"The file has no cover picture. {error}"))
        return ""


def last_sample(run: Run) -> Path | None:
    """The first picture of the run's latest samples; none before there is one of the trained weights."""
    grids = [event for event in read_events(run.folder.events_path)[0] if isinstance(event, Sampled)]
    drawn = [grid for grid in grids if grid.step > 0 and grid.paths]
    return run.folder.path / drawn[-1].paths[0] if drawn else None


def data_url(path: Path) -> str:
    """A picture, at most `SIDE` pixels long, as the data URL of a JPEG. OchreError if it can't be read."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            small = ImageOps.exif_transpose(picture).convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or "it is no picture that can be read"
        raise OchreError(f"{path} can't be the cover picture.", f"{reason[0].upper()}{reason[1:]}.") from error
    small.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
