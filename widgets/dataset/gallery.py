"""The concepts as small cards, the open one's settings under them, and what a removed one needs to come back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import ipywidgets as ipw

from widgets.body import Card
from widgets.dataset.details import Actions, Details, Refreshed
from widgets.dataset.tile import Tile, called
from widgets.field import shared
from widgets.tables import Cards


class Gallery:
    """A form's list of concepts.

    statistics: makes what a card's last tab shows. advice: what in a card's settings doesn't fit together. uploaded:
    called after pictures were uploaded.
    """

    def __init__(
        self,
        cards: Cards,
        statistics: Callable[[Card], Refreshed],
        advice: Callable[[Card], Sequence[str]],
        uploaded: Callable[[], None],
    ) -> None:
        self._cards = cards
        self._actions = Actions(self.duplicate, self.remove, self.close, statistics, advice, uploaded)
        self._tiles: dict[Card, Tile] = {}
        self._details: dict[Card, Details] = {}
        self._opened: Card | None = None
        self._removed: tuple[int, Any] | None = None
        self._add = ipw.Button(description="Add a concept", icon="plus", _dom_classes=("ochre-tile-add",))
        self._add.on_click(lambda _: self.add())
        self._grid = ipw.VBox(layout=shared(ipw.Layout), _dom_classes=("ochre-tiles",))
        self._undo = ipw.Button(icon="undo", description="Put it back", _dom_classes=("ochre-quiet",))
        self._undo.on_click(lambda _: self._put_back())
        self._told = ipw.HTML()
        self._gone = ipw.HBox([self._told, self._undo], _dom_classes=("ochre-gone",))
        self._box = ipw.VBox(layout=shared(ipw.Layout))

    # -- as rows of the form

    def widgets(self, more: bool = True, search: str = "") -> list[ipw.Widget]:
        """The small cards, and the open one."""
        self._refresh()
        return [self._box]

    def advanced(self) -> int:
        """None: each open card has a button of its own."""
        return 0

    def hides_problem(self) -> bool:
        """Nothing is hidden here."""
        return False

    # -- what the user does

    @property
    def opened(self) -> Details | None:
        """The open card."""
        return self._details[self._opened] if self._opened else None

    def press(self, card: Card) -> None:
        """Open a card, or close it."""
        if card is self._opened:
            self.close(card)
        else:
            self.open(card)

    def open(self, card: Card) -> None:
        """Show a concept's settings."""
        if card not in self._details:
            self._details[card] = Details(card, self._actions)
        self._opened = card
        self._refresh()

    def close(self, card: Card) -> None:
        """Show the small cards alone."""
        self._opened = None
        self._refresh()

    def add(self) -> None:
        """Add a concept, and open it."""
        self._removed = None
        self._cards.add()
        self.open(self._cards.cards[-1])

    def duplicate(self, card: Card) -> None:
        """Add a concept with the same settings behind this one, and open it."""
        place = self._cards.cards.index(card) + 1
        data = card.node.data()
        self._cards.insert(place, {**data, "name": self._free_name(str(data["name"]))})
        self.open(self._cards.cards[place])

    def remove(self, card: Card) -> None:
        """Take a concept out. It can be put back until the next is removed or added."""
        self._removed = (self._cards.cards.index(card), card.node.data())
        self._told.value = f'<span class="ochre-help">{escape(called(card.node.data()))} is removed.</span>'
        self._opened = None
        self._cards.remove(card)

    def _put_back(self) -> None:
        if self._removed:
            place, data = self._removed
            self._removed = None
            self._cards.insert(min(place, len(self._cards.cards)), data)

    def _free_name(self, name: str) -> str:
        taken = {card.node.data()["name"] for card in self._cards.cards}
        number = 2
        while f"{name} {number}".strip() in taken:
            number += 1
        return f"{name} {number}".strip()

    def _refresh(self) -> None:
        self._forget()
        for card in self._cards.cards:
            if card not in self._tiles:
                self._tiles[card] = Tile(card, lambda card=card: self.press(card))
            self._tiles[card].refresh(card is self._opened)
        children = (*(self._tiles[card].widget for card in self._cards.cards), self._add)
        if children != self._grid.children:
            self._grid.children = children
        shown: list[ipw.Widget] = [self._grid]
        if self._removed:
            shown.append(self._gone)
        if self._opened:
            self._details[self._opened].refresh()
            shown.append(self._details[self._opened].widget)
        if tuple(shown) != self._box.children:
            self._box.children = tuple(shown)

    def _forget(self) -> None:
        """Let go of the cards that are no more."""
        there = set(self._cards.cards)
        self._tiles = {card: tile for card, tile in self._tiles.items() if card in there}
        self._details = {card: details for card, details in self._details.items() if card in there}
        if self._opened not in there:
            self._opened = None
