"""The tables of a kohya dataset config: which value counts where, and an account of every key."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from core.dataset.kohya.keys import COMMAND_LINE, KEYS, KINDS, Key, Level
from core.errors import Problem

WHERE = {"general": "[general]", "datasets": "[[datasets]]", "subsets": "[[datasets.subsets]]"}
"""What a level's table is called in the file."""


@dataclass(frozen=True)
class Note:
    """What is to be known about a value of a kohya config.

    place: where it stands, as in `datasets.0.subsets.1.keep_tokens`. value: None where the key is not given. text: what
    differs here, or why it can't be taken, and what to do. taken: whether the value counts here all the same.
    """

    place: str
    value: Any
    text: str
    taken: bool

    @property
    def heading(self) -> str:
        """Place and value, as in `general.keep_tokens = 1`."""
        return self.place if self.value is None else f"{self.place} = {shown(self.value)}"

    def __str__(self) -> str:
        return f"{self.heading}: {self.text}"


class Table(NamedTuple):
    """One table of a config. place: as in `datasets.0`."""

    place: str
    level: Level
    values: Mapping[str, Any]


class Value(NamedTuple):
    """A value that counts. place: where it stands; empty for kohya's default."""

    value: Any
    place: str


class Dataset(NamedTuple):
    """One dataset: its table, and those of its subsets."""

    table: Table
    subsets: Sequence[Table]


@dataclass
class Account:
    """Of every key of a config: whether it is used, what is noted about it, what is wrong with it."""

    general: Table
    datasets: Sequence[Dataset]
    used: dict[str, None] = field(default_factory=dict)
    notes: dict[tuple[str, str], Note] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def tables(self) -> Iterator[Table]:
        """All tables, in the order of the file."""
        yield self.general
        for dataset in self.datasets:
            yield dataset.table
            yield from dataset.subsets

    def values(self, keys: Sequence[Key], *tables: Table) -> dict[str, Value]:
        """The value of each key: that of the first of the tables that may have it and has it, or kohya's default."""
        return {key.name: self._value(key, tables) for key in keys}

    def _value(self, key: Key, tables: Sequence[Table]) -> Value:
        for table in tables:
            value = table.values.get(key.name) if table.level in key.levels else None
            if value is None:
                continue
            place, (words, fits) = f"{table.place}.{key.name}", KINDS[key.kind]
            if not key.ours or fits(value):
                return Value(value, place)
            self.problem(place, f"{words} (it is {shown(value)})")
            self.use(place)
            break
        return Value(key.default, "")

    def use(self, place: str) -> None:
        """The value at a place counts. Nothing for kohya's defaults, which have none."""
        if place:
            self.used[place] = None

    def note(self, value: Value, text: str, taken: bool = True) -> None:
        """Say something of a value, once; nothing of kohya's defaults."""
        if value.place:
            self.say(value.place, value.value, text, taken)

    def say(self, place: str, value: Any, text: str, taken: bool) -> None:
        """Say something of a place, once."""
        self.notes.setdefault((place, text), Note(place, value, text, taken))

    def problem(self, place: str, message: str) -> None:
        """Something is wrong at a place."""
        if (problem := Problem(place, message)) not in self.problems:
            self.problems.append(problem)

    def close(self) -> None:
        """Note every key that nothing was said of, and that isn't used."""
        settled = {*self.used, *(place for place, _ in self.notes)}
        for table in self.tables():
            for name, value in table.values.items():
                place = f"{table.place}.{name}"
                if place not in settled:
                    self.say(place, value, _why_not(table.level, name, value), taken=False)


def _why_not(level: Level, name: str, value: Any) -> str:
    key = KEYS.get(name)
    if value is None:
        return "null counts as not given."
    if key is None:
        return _unknown(name)
    if level not in key.levels:
        where = " and ".join(WHERE[other] for other in reversed(key.levels))
        return f"It counts in {where} alone, as with kohya's trainer."
    if key.only and level == "subsets":
        return f"It counts only for subsets with {key.only}."
    about = f" that has {key.only}" if key.only else ""
    return f"It changes nothing: every subset{about} has a value of its own, or there is none."


def _unknown(name: str) -> str:
    if name in COMMAND_LINE:
        ours = COMMAND_LINE[name]
        belongs = "It belongs to the command line of kohya's trainer, which doesn't take it here. "
        return belongs + (f"In Ochre it is {ours}." if ours else "Ochre has no counterpart.")
    close = difflib.get_close_matches(name, KEYS, n=1, cutoff=0.75)
    return "Ochre doesn't know it." + (f" Is {close[0]} meant?" if close else "")


def shown(value: Any) -> str:
    """A value as TOML writes it; what stands in these tables is nearly the same in JSON."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 200 else text[:197] + "..."
