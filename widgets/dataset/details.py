"""What a concept's card opens: its settings and its statistics, in tabs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Protocol

import ipywidgets as ipw

from core.dataset.survey import proposed_repeats
from widgets.body import Card, RowBox
from widgets.dataset.tile import called
from widgets.dataset.uploads import Upload
from widgets.field import Row, shared
from widgets.tables import Group, Part
from widgets.tabs import Tabs
from widgets.wording import note

GENERAL, STATISTICS = "General", "Statistics"
IN_GENERAL = ("text",)
"""Tables of a concept that have no tab of their own."""


class Refreshed(Protocol):
    """Something that is made up to date each time it is shown."""

    @property
    def widget(self) -> ipw.Widget:
        """What is shown."""
        ...

    def refresh(self) -> None:
        """Make it so."""
        ...


@dataclass(frozen=True)
class Actions:
    """What the buttons of an open card do.

    statistics: makes what its last tab shows. advice: what in its settings doesn't fit together. uploaded: called
    after pictures were uploaded.
    """

    duplicate: Callable[[Card], None]
    remove: Callable[[Card], None]
    close: Callable[[Card], None]
    statistics: Callable[[Card], Refreshed]
    advice: Callable[[Card], Sequence[str]]
    uploaded: Callable[[], None]


class Details:
    """The open card of one concept. Each tab is built when it is first chosen."""

    def __init__(self, card: Card, actions: Actions) -> None:
        assert isinstance(card.node, Group)
        self._card, self._group, self._actions = card, card.node, actions
        self._settings = settings_tabs(card.node)
        self._boxes: dict[str, RowBox] = {}
        self._statistics = actions.statistics(card)
        self._title = ipw.HTML(layout=shared(ipw.Layout))
        self.tabs = Tabs(
            {
                **{title: lambda title=title: self._rows(title) for title in self._settings},
                STATISTICS: lambda: [self._statistics.widget],
            }
        )
        self.tabs.chosen_by_user = self._chosen
        head = ipw.HBox([self._title, *self._buttons()], _dom_classes=("ochre-card-head",))
        self._advice = ipw.HTML(layout=shared(ipw.Layout))
        self.widget = ipw.VBox([head, self.tabs.widget, self._advice], _dom_classes=("ochre-card", "ochre-details"))

    def refresh(self) -> None:
        """Show what the concept is now."""
        self._title.value = f"<b>{escape(called(self._group.data()))}</b>"
        self._advice.value = "".join(note("", line) for line in self._actions.advice(self._card))
        self._propose_repeats()
        for title, tab in self._settings.items():
            wrong = sum(self._tab_of(path) == title for path in self._card.problems)
            self.tabs.mark(title, f"{wrong} to correct" if wrong else tab.note(), wrong=bool(wrong))
        for box in self._boxes.values():
            box.reveal()
            box.refresh()

    def _rows(self, title: str) -> list[ipw.Widget]:
        box = self._boxes[title] = RowBox(self._settings[title])
        if title != GENERAL:
            return [box.widget]
        upload = Upload(lambda: str(self._group.data()["folder"]), self._actions.uploaded)
        return [box.widget, upload.widget]

    def _chosen(self, title: str) -> None:
        if title == STATISTICS:
            self._statistics.refresh()

    def _buttons(self) -> list[ipw.Button]:
        does = (
            ("Duplicate", "copy", self._actions.duplicate),
            ("Remove", "trash", self._actions.remove),
            ("Close", "times", self._actions.close),
        )
        buttons = []
        for words, icon, action in does:
            button = ipw.Button(description=words, icon=icon, _dom_classes=("ochre-quiet", "ochre-muted"))
            button.on_click(lambda _, action=action: action(self._card))
            buttons.append(button)
        return buttons

    def _propose_repeats(self) -> None:
        row = self._group.children["repeats"]
        proposed = proposed_repeats(str(self._group.data()["folder"]))
        assert isinstance(row, Row)
        row.offer(None if proposed is None else float(proposed), f"Use {proposed}, as the folder's name proposes")

    def _tab_of(self, path: str) -> str:
        """The tab that shows a problem: the one with the longest beginning of its path."""
        fitting = [
            (len(name), title)
            for title, tab in self._settings.items()
            for name in tab.paths
            if path == name or path.startswith(name + ".")
        ]
        return max(fitting)[1] if fitting else GENERAL


@dataclass(frozen=True)
class Tab:
    """The settings of one tab: rows, part after part. paths: where in the concept they stand."""

    parts: Sequence[Part]
    paths: Sequence[str]
    table: Group | None = None

    def widgets(self, more: bool = True, search: str = "") -> list[ipw.Widget]:
        """The rows."""
        return [row for part in self.parts for row in part.widgets(more, search)]

    def advanced(self) -> int:
        """How many of them are advanced and apply."""
        return sum(part.advanced() for part in self.parts)

    def hides_problem(self) -> bool:
        """Whether one of those has a problem."""
        return any(part.hides_problem() for part in self.parts)

    def note(self) -> str:
        """Whether it is switched on, where it has a switch."""
        switch = self.table.inside("enabled") if self.table else None
        return "on" if switch and switch.data() is True else ""


def settings_tabs(concept: Group) -> dict[str, Tab]:
    """A concept's settings by tabs: its own ones, then a tab for each table, and for each table in that.

    A setting of the concept whose name begins with that of a table (`image_variations`) stands at the table's end.
    """
    tables = {name: node for name, node in concept.children.items() if isinstance(node, Group)}
    beside = {table: [name for name in concept.children if name.startswith(f"{table}_")] for table in tables}
    own = [
        name for name in concept.children if name not in tables and not any(name in some for some in beside.values())
    ]
    general = Tab([Part(concept, own, messages=True)], own)
    found = {GENERAL: general}
    for name, table in tables.items():
        rest, paths = Part(concept, beside[name]), [name, *beside[name]]
        if name in IN_GENERAL:
            parts = [*found[GENERAL].parts, Part(table, table.children, messages=True, heading=True), rest]
            found[GENERAL] = Tab(parts, [*found[GENERAL].paths, *paths])
            continue
        inner = {key: node for key, node in table.children.items() if isinstance(node, Group)}
        rows = [key for key in table.children if key not in inner]
        found[table.label] = Tab([Part(table, rows, messages=True), rest], paths)
        for key, node in inner.items():
            found[node.label] = Tab([Part(node, node.children, messages=True)], [f"{name}.{key}"], node)
    return found
