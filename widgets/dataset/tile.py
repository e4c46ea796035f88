"""A concept as a small card: its first pictures, its name, its kind, how many pictures, and whether it is enabled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as ipw

from widgets.body import Card
from widgets.dataset.glance import Glance, Place, glance
from widgets.field import Row, to_text
from widgets.report import Report
from widgets.tables import Group


class Tile:
    """The small card of one concept.

    press: called when it is clicked.
    """

    def __init__(self, card: Card, press: Callable[[], None]) -> None:
        assert isinstance(card.node, Group)
        self._group = card.node
        self._card = card
        self._place: Place | None = None
        self._report = Report()
        self._facts = ipw.HTML(_dom_classes=("ochre-tile-facts",))
        self._name = ipw.Button(_dom_classes=("ochre-tile-name",))
        self._name.on_click(lambda _: press())
        self._enabled = ipw.Checkbox(indent=False, description="Enabled", _dom_classes=("ochre-switch",))
        self._enabled.observe(self._switch, "value")
        self._report.widget.add_class("ochre-tile-pictures")
        foot = ipw.HBox([self._facts, self._enabled], _dom_classes=("ochre-tile-foot",))
        self.widget = ipw.VBox([self._report.widget, self._name, foot], _dom_classes=("ochre-tile",))

    def refresh(self, opened: bool) -> None:
        """Show what the concept is now."""
        data = self._group.data()
        enabled = data["enabled"] is True
        if self._enabled.value != enabled:
            self._enabled.value = enabled
        self._name.description = called(data)
        self._facts.value = self._told(data)
        for name, on in (("ochre-open", opened), ("ochre-off", not enabled), ("ochre-wrong", bool(self._wrong()))):
            (self.widget.add_class if on else self.widget.remove_class)(name)
        self._look(Place.of(str(data["folder"]), data["subfolders"] is True))

    def _told(self, data: Mapping[str, Any]) -> str:
        wrong = self._wrong()
        if wrong:
            return f'<span class="ochre-tile-wrong">{wrong} to correct</span>'
        kind = str(data["kind"]).replace("_", " ")
        often = f"{data['samples_per_epoch']} an epoch" if data["samples_per_epoch"] else f"{to_text(data['repeats'])}×"
        return escape(kind if often == "1×" else f"{kind} · {often}")

    def _wrong(self) -> int:
        return len(self._card.problems)

    def _look(self, place: Place) -> None:
        if place != self._place:
            self._place = place
            self._report.show_later(lambda: pictures(glance(place)), "Looking ...")

    def _switch(self, change: Mapping[str, Any]) -> None:
        row = self._group.children["enabled"]
        assert isinstance(row, Row)
        if row.data() is not change["new"]:
            row.choose(change["new"])


def called(concept: Mapping[str, Any]) -> str:
    """What a concept is called, from its data: by its name, or else by its folder."""
    return str(concept["name"]) or Path(str(concept["folder"])).name or "New"


def pictures(found: Glance) -> str:
    """What was seen of a folder, as HTML."""
    if not found.urls:
        return f'<div class="ochre-mosaic none">{escape(found.problem or "No picture can be shown")}</div>'
    images = "".join(f'<img src="{url}" alt="">' for url in found.urls)
    count = "1 picture" if found.pictures == 1 else f"{found.pictures} pictures"
    return f'<div class="ochre-mosaic of{len(found.urls)}">{images}</div><span class="ochre-count">{count}</span>'
