"""Writes a run's curves and samples for TensorBoard."""

from __future__ import annotations

from pathlib import Path

from core.training.curves import curves_of, pictures_of
from core.training.events import Event, Started


class TensorBoard:
    """A reader of events that writes what `curves_of` and `pictures_of` make of them."""

    def __init__(self, folder: Path, workspace: Path, first_step: int) -> None:
        """first_step: what an earlier session wrote from this step on is hidden."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=first_step + 1)
        self._workspace = workspace

    def __call__(self, event: Event) -> None:
        """Write what TensorBoard can show of an event."""
        for tag, value in curves_of(event).items():
            self._writer.add_scalar(tag, value, event.step)  # type: ignore[attr-defined]
        for tag, path in pictures_of(event).items():
            self._add_picture(tag, self._workspace / path, event.step)  # type: ignore[attr-defined]
        if isinstance(event, Started):
            self._writer.add_text("run", f"{event.family}, {event.trained_weights:,} trained weights, {event.device}")

    def _add_picture(self, tag: str, path: Path, step: int) -> None:
        import numpy
        from PIL import Image

        with Image.open(path) as picture:
            pixels = numpy.asarray(picture.convert("RGB"))
        self._writer.add_image(tag, pixels, step, dataformats="HWC")

    def close(self) -> None:
        """Write what is still in memory."""
        self._writer.close()
