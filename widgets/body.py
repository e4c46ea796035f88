"""The box that a table's rows stand in, with a button for the advanced ones; a card; a message for a whole table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any, Protocol

import ipywidgets as ipw

from core.errors import Problem
from widgets.field import shared


class Rows(Protocol):
    """What can be shown as rows: some in sight, the advanced ones when asked for."""

    def widgets(self, more: bool = True, search: str = "") -> list[ipw.Widget]:
        """The rows: with the advanced ones (more), or those that a search finds."""
        ...

    def advanced(self) -> int:
        """How many settings are shown only when asked for."""
        ...

    def hides_problem(self) -> bool:
        """Whether one of those has a problem."""
        ...


class Node(Rows, Protocol):
    """A row or a table of a form. It holds its data; widgets are built when they are asked for.

    Paths are relative to the node: "" is the node itself.
    """

    changed: Callable[[str], None]

    @property
    def label(self) -> str:
        """What it is called."""
        ...

    def data(self) -> Any:
        """What stands in it, as TOML would hold it."""
        ...

    def fill(self, value: Any) -> None:
        """Show other data."""
        ...

    def show(self, problems: Mapping[str, Problem]) -> None:
        """Show these problems, and no others."""
        ...

    def inside(self, key: str) -> Node | None:
        """What stands in it under a name or a number; None for nothing."""
        ...

    def matches(self, words: str) -> bool:
        """Whether a search finds something in it."""
        ...


class RowBox:
    """Rows in a box, with a button for the advanced ones."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._search = ""
        self._box: Any = None
        self._more: Any = None

    @property
    def widget(self) -> ipw.VBox:
        """The box, built when it is first asked for."""
        if self._box is None:
            self._more = ipw.ToggleButton(icon="sliders", layout=shared(ipw.Layout))
            self._more.add_class("ochre-more")
            self._more.observe(lambda _: self.refresh(), "value")
            self._box = ipw.VBox(layout=shared(ipw.Layout), _dom_classes=("ochre-body",))
            self.refresh()
        return self._box

    def search(self, words: str) -> None:
        """Show what a search finds; everything for no words."""
        self._search = words
        self.refresh()

    def reveal(self) -> None:
        """Show the advanced rows, if one of them has a problem."""
        if self._box is not None and self._rows.hides_problem():
            self._more.value = True

    def refresh(self) -> None:
        """Show the rows that apply now."""
        if self._box is None:
            return
        hidden = 0 if self._search else self._rows.advanced()
        self._more.description = "Fewer settings" if self._more.value else f"More settings ({hidden})"
        rows = self._rows.widgets(self._more.value or bool(self._search), self._search)
        children = (*rows, self._more) if hidden else tuple(rows)
        if children != self._box.children:
            self._box.children = children


class Body(RowBox):
    """The rows of a node in a box. It follows what the user changes."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.node = node
        self.changed: Callable[[str], None] = lambda path: None
        self.node.changed = self._on_change

    def fill(self, data: Any) -> None:
        """Show other data."""
        self.node.fill(data)
        self.refresh()

    def show(self, problems: Mapping[str, Problem]) -> None:
        """Show these problems, and the advanced rows if one of them is there."""
        self.node.show(problems)
        self.reveal()
        self.refresh()

    def _on_change(self, path: str) -> None:
        self.refresh()
        self.changed(path)


class Card(Body):
    """One entry of a list. remove: what its button for that calls."""

    def __init__(self, node: Node, remove: Callable[[Card], None]) -> None:
        super().__init__(node)
        self._remove = remove
        self.problems: Mapping[str, Problem] = {}
        self._card: Any = None
        self._title: Any = None

    @property
    def widget(self) -> ipw.VBox:
        """The card: its title, the button that removes it, its rows, and what a panel adds."""
        if self._card is None:
            body = super().widget
            self._title = ipw.HTML(layout=shared(ipw.Layout))
            button = ipw.Button(description="Remove", icon="trash", _dom_classes=("ochre-remove",))
            button.on_click(lambda _: self._remove(self))
            head = ipw.HBox([self._title, button], layout=shared(ipw.Layout))
            head.add_class("ochre-card-head")
            self._card = ipw.VBox([head, body], _dom_classes=("ochre-card",))
            self._entitle()
        return self._card

    def show(self, problems: Mapping[str, Problem]) -> None:
        self.problems = problems
        super().show(problems)

    def refresh(self) -> None:
        super().refresh()
        self._entitle()

    def _entitle(self) -> None:
        if self._title is None:
            return
        self._title.value = f"<b>{escape(self.node.label)}</b>"


class Message:
    """What is wrong with a table as a whole."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._html: Any = None

    def show(self, lines: list[str]) -> None:
        """Show these lines, and no others."""
        self._lines = lines
        if self._html is not None:
            self._html.value = self._text()

    def widgets(self) -> list[ipw.Widget]:
        """Nothing, while nothing is wrong."""
        if not self._lines:
            return []
        if self._html is None:
            self._html = ipw.HTML(self._text())
        return [self._html]

    def _text(self) -> str:
        return "".join(f'<div class="ochre-problem" role="alert">{escape(line)}</div>' for line in self._lines)
