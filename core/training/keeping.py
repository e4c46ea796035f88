"""Deletes LoRAs that were saved on the way once enough newer ones are there."""

from __future__ import annotations

from pathlib import Path

from core.training.events import Saved, read_events


class Kept:
    """The files of a run that were saved on the way because they were due, the oldest first.

    Those that the user asked for, the best and the last are never touched, nor is any file that this run's events don't
    tell of.
    """

    def __init__(self, keep: int, events: Path) -> None:
        """keep: how many stay; 0: all. events: what earlier sessions of the run told."""
        self._keep = keep
        self._saved: list[Saved] = []
        for event in read_events(events)[0] if keep else []:
            if isinstance(event, Saved):
                self._take(event)

    def _take(self, event: Saved) -> None:
        self._saved = [old for old in self._saved if old.path != event.path]
        if event.why == "due":
            self._saved.append(event)

    def add(self, event: Saved) -> tuple[list[str], list[str]]:
        """One more is written. The files that were deleted for it, and what couldn't be, with the reason."""
        if not self._keep:
            return [], []
        self._take(event)
        deleted, failed = [], []
        while len(self._saved) > self._keep:
            old = self._saved.pop(0)
            for path in (old.path, *old.beside):
                try:
                    Path(path).unlink()
                    deleted.append(path)
                except FileNotFoundError:
                    continue  # the user was quicker
                except OSError as error:
                    failed.append(f"{path}: {error.strerror}")
        return deleted, failed
