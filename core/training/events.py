"""The records that a run emits. Notebook, command line and TensorBoard all read this one stream."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar


@dataclass(kw_only=True)
class Event:
    """Something that happened in a run. `time` is in seconds since 1970."""

    kind: ClassVar[str] = ""
    time: float = field(default_factory=time.time)


@dataclass(kw_only=True)
class Started(Event):
    """The loop begins, or goes on at `step`."""

    kind: ClassVar[str] = "started"
    step: int
    total_steps: int
    steps_per_epoch: int
    epochs: int
    family: str
    device: str
    trained_weights: int


@dataclass(kw_only=True)
class Phase(Event):
    """Work other than training: loading, caching, sampling, saving. `total` is 0 where it isn't known."""

    kind: ClassVar[str] = "phase"
    title: str
    done: int = 0
    total: int = 0


@dataclass(kw_only=True)
class Step(Event):
    """One optimizer step, the `step`-th (from 1).

    loss: mean over the step's samples. learning_rates: part -> rate. gradient_norm: before clipping.
    images_per_second, seconds_left: training alone, without sampling and saving.
    memory, host_memory: bytes of the device (0 on a CPU) and of this process. smooth_loss: over the latest steps.
    more: further curves, with their names, of the steps that log them.
    """

    kind: ClassVar[str] = "step"
    step: int
    epoch: int
    loss: float
    learning_rates: dict[str, float]
    gradient_norm: float
    images: int
    images_per_second: float
    seconds_left: float
    memory: int = 0
    host_memory: int = 0
    smooth_loss: float | None = None
    more: dict[str, float] = field(default_factory=dict)


@dataclass(kw_only=True)
class Validated(Event):
    """What isn't learned is measured: mean squared errors, without weightings.

    losses: concept -> that of its pictures. mean: of all. levels: noise level in thousandths -> of all at that level.
    ema_losses, ema_mean: with the average of the weights, where one is kept. judged: that mean of the two that is of
    the weights which the main file holds. best: whether these were never better.
    """

    kind: ClassVar[str] = "validated"
    step: int
    losses: dict[str, float]
    mean: float | None = None
    levels: dict[str, float] = field(default_factory=dict)
    ema_losses: dict[str, float] = field(default_factory=dict)
    ema_mean: float | None = None
    judged: float | None = None
    best: bool = False


@dataclass(kw_only=True)
class Sampled(Event):
    """A grid of samples is drawn: paths relative to the workspace, and of each picture its prompt and its seed.

    rows: what tells a picture from the others, the same in all of a run's grids: `00`, and `00-no-ema` where the plain
    weights are shown beside their average. A picture that could not be drawn is missing.
    """

    kind: ClassVar[str] = "sampled"
    step: int
    paths: list[str]
    prompts: list[str]
    rows: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)

    def by_row(self) -> dict[str, str]:
        """Row -> path."""
        return dict(zip(self.rows or map(str, range(len(self.paths))), self.paths, strict=True))


@dataclass(kw_only=True)
class Saved(Event):
    """A file for use in other programs is written.

    why: it was due on the way, the user asked for it, it is the best so far, or the run ended. beside: further files.
    """

    kind: ClassVar[str] = "saved"
    step: int
    path: str
    why: str = "end"
    beside: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Deleted(Event):
    """Files that the run had saved on the way are gone, as newer ones are there."""

    kind: ClassVar[str] = "deleted"
    step: int
    paths: list[str]


@dataclass(kw_only=True)
class BackedUp(Event):
    """A backup is whole."""

    kind: ClassVar[str] = "backed_up"
    step: int
    path: str


@dataclass(kw_only=True)
class Message(Event):
    """Something to know. level: info or warning."""

    kind: ClassVar[str] = "message"
    text: str
    level: str = "info"


@dataclass(kw_only=True)
class Finished(Event):
    """The run ended as planned; `path` is what it made."""

    kind: ClassVar[str] = "finished"
    step: int
    path: str


@dataclass(kw_only=True)
class Stopped(Event):
    """The run was stopped by the user; it can go on from `backup`."""

    kind: ClassVar[str] = "stopped"
    step: int
    backup: str


@dataclass(kw_only=True)
class Failed(Event):
    """The run ended by an error: what happened, why, what to do. details: the traceback of an error of ours."""

    kind: ClassVar[str] = "failed"
    what: str
    why: str = ""
    do: str = ""
    details: str = ""


KINDS: dict[str, type[Event]] = {cls.kind: cls for cls in Event.__subclasses__()}
ENDS = (Finished, Stopped, Failed)


def to_line(event: Event) -> str:
    """One line of JSON."""
    return json.dumps({"event": event.kind, **asdict(event)}, ensure_ascii=False)


def from_line(line: str) -> Event:
    """The event of a line that `to_line` wrote. Names it doesn't know, of a newer version, are left out."""
    data: dict[str, Any] = json.loads(line)
    cls = KINDS[data.pop("event")]
    known = {item.name for item in fields(cls)}
    return cls(**{name: value for name, value in data.items() if name in known})


def side_by_side(grids: Sequence[Sampled]) -> list[tuple[str, list[str | None]]]:
    """A row for each picture of the last grid: its label, and the picture's path in each of the grids.

    Before the first step the average and the plain weights are the same: the one picture stands for both.
    """
    rows = []
    for prompt, row in zip(grids[-1].prompts, grids[-1].by_row(), strict=True) if grids else ():
        place, _, weights = row.partition("-")
        found = [grid.by_row() for grid in grids]
        label = f"{prompt} (plain weights)" if weights else prompt
        rows.append((label, [one.get(row, one.get(place)) for one in found]))
    return rows


class EventLog:
    """`events.jsonl`, being written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, event: Event) -> None:
        """Append an event; a reader sees it at once. OSError, with nothing written, if there is no room for it."""
        line = (to_line(event) + "\n").encode()
        with self.path.open("ab", buffering=0) as file:
            end = file.tell()
            written = file.write(line)
            if written < len(line):  # half a line, which would spoil the next one
                file.truncate(end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def cut_back(self, step: int) -> None:
        """Forget what came after `step`, when a run goes on from its backup."""
        if not self.path.exists():
            return
        kept = [to_line(event) for event in read_events(self.path)[0] if _before(event, step)]
        temporary = self.path.with_suffix(".part")
        temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        temporary.replace(self.path)


def _before(event: Event, step: int) -> bool:
    return not isinstance(event, ENDS) and getattr(event, "step", 0) <= step


def read_events(path: Path, offset: int = 0) -> tuple[list[Event], int]:
    """The whole lines from `offset` (in bytes) on, and the offset after them. Empty where there is no file yet.

    A file shorter than `offset` was cut back by a resume: it is read again from the start.
    """
    if not path.exists():
        return [], 0
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = offset if offset <= size else 0
        file.seek(start)
        text = file.read()
    whole = text[: text.rfind(b"\n") + 1]
    return [from_line(line) for line in whole.decode("utf-8").splitlines() if line], start + len(whole)


def follow(path: Path, alive: Any, pause: float = 0.1) -> Iterator[Event]:
    """Events as they come, from the start, until one that ends the run, or until `alive()` is false."""
    offset = 0
    while True:
        going_on = alive()
        events, offset = read_events(path, offset)
        yield from events
        if not going_on or any(isinstance(event, ENDS) for event in events):
            return
        time.sleep(pause)
