"""What is due when: saving, backing up, drawing and measuring, each after so many steps, epochs, or so much time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from core.settings.cadence import Cadence, parse_cadence, parse_start

NOT_REACHED = 2**62
"""A step that no run gets to."""


class Due:
    """One thing that is done again and again."""

    def __init__(self, cadence: Cadence, epoch_ends: Sequence[int], first: int = 0) -> None:
        """epoch_ends: the step after which each epoch ends. first: the first step after which it may be done."""
        self._cadence, self._ended, self._first = cadence, epochs_ended(epoch_ends), first
        self._last = 0.0

    def after(self, step: int, trained: float) -> bool:
        """Whether it is due after a step. trained: seconds of training in this session until now.

        A time counts from when it was last due, or from the beginning of the session: it is no part of a backup.
        """
        due = step >= self._first and self._cadence.due(step, self._ended.get(step, ()), trained - self._last)
        if due:
            self._last = trained
        return due


def due(every: str, skip_first: str, epoch_ends: Sequence[int]) -> Due:
    """From a setting's texts, which were checked."""
    return Due(parse_cadence(every), epoch_ends, first_step(skip_first, epoch_ends))


def first_step(skip_first: str, epoch_ends: Sequence[int]) -> int:
    """The first step after which something may be done; beyond the run if the epoch isn't reached."""
    step, epoch = parse_start(skip_first)
    if epoch > len(epoch_ends):
        return NOT_REACHED
    return epoch_ends[epoch - 1] if epoch else step


def epochs_ended(epoch_ends: Sequence[int]) -> Mapping[int, list[int]]:
    """Step -> the epochs, from 1, that end with it."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for epoch, step in enumerate(epoch_ends, start=1):
        found[step].append(epoch)
    return dict(found)
