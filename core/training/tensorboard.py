"""Writes a run's events for TensorBoard."""

from __future__ import annotations

from pathlib import Path

from core.training.events import Event, Sampled, Started, Step, Validated


class TensorBoard:
    """A reader of events that writes curves and samples.

    Tags are OneTrainer's and kohya's: `loss/train_step`, `loss/validation_step/<concept>`, `lr/<part>`.
    """

    def __init__(self, folder: Path, workspace: Path, first_step: int) -> None:
        """first_step: what an earlier session wrote from this step on is hidden."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=first_step + 1)
        self._workspace = workspace

    def __call__(self, event: Event) -> None:
        """Write what TensorBoard can show of an event."""
        if isinstance(event, Step):
            self._write_step(event)
        elif isinstance(event, Validated):
            for concept, loss in event.losses.items():
                self._writer.add_scalar(f"loss/validation_step/{concept}", loss, event.step)
        elif isinstance(event, Sampled):
            self._write_samples(event)
        elif isinstance(event, Started):
            self._writer.add_text("run", f"{event.family}, {event.trained_weights:,} trained weights, {event.device}")

    def _write_step(self, event: Step) -> None:
        values = {"loss/train_step": event.loss, "gradient_norm": event.gradient_norm}
        values |= {f"lr/{part}": rate for part, rate in event.learning_rates.items()}
        values["speed/images_per_second"] = event.images_per_second
        values["memory/host_gb"] = event.host_memory / 1e9
        if event.memory:
            values["memory/device_gb"] = event.memory / 1e9
        for tag, value in values.items():
            self._writer.add_scalar(tag, value, event.step)

    def _write_samples(self, event: Sampled) -> None:
        import numpy
        from PIL import Image

        for (row, path), prompt in zip(event.by_row().items(), event.prompts, strict=True):
            with Image.open(self._workspace / path) as picture:
                pixels = numpy.asarray(picture.convert("RGB"))
            self._writer.add_image(f"samples/{row.zfill(2)} {prompt[:60]}", pixels, event.step, dataformats="HWC")

    def close(self) -> None:
        """Write what is still in memory."""
        self._writer.close()
