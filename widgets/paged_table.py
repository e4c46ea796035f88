"""A table of any length, a page of it at a time, so that a saved notebook stays small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import ipywidgets as ipw

ON_A_PAGE = 25


class PagedTable:
    """Rows of text under column titles.

    kinds: what rows may be narrowed down to: label -> the rows' numbers; the first is shown at first.
    """

    def __init__(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], kinds: Mapping[str, Sequence[int]]
    ) -> None:
        self._columns, self._rows, self._kinds = columns, rows, kinds
        self._page = 0
        self._table = ipw.HTML()
        self.kind = ipw.Dropdown(
            options=[(f"{label} ({len(numbers):,})", label) for label, numbers in kinds.items()],
            description="Show",
            _dom_classes=("ochre-input", "ochre-narrow"),
        )
        self.search = ipw.Text(
            placeholder="Part of a name or caption",
            description="Find",
            continuous_update=False,
            _dom_classes=("ochre-input", "ochre-narrow"),
        )
        self._place = ipw.HTML()
        self.back = ipw.Button(description="Back", icon="chevron-left", _dom_classes=("ochre-quiet",))
        self.next = ipw.Button(description="Next", icon="chevron-right", _dom_classes=("ochre-quiet",))
        self.kind.observe(self._narrow, "value")
        self.search.observe(self._narrow, "value")
        self.back.on_click(lambda _: self._turn(-1))
        self.next.on_click(lambda _: self._turn(1))
        above = ipw.HBox([self.kind, self.search], _dom_classes=("ochre-filters",))
        below = ipw.HBox([self.back, self._place, self.next], _dom_classes=("ochre-pager",))
        self.widget = ipw.VBox([above, self._table, below])
        self._narrow(None)

    def _narrow(self, change: Any) -> None:
        words = self.search.value.casefold().split()
        self._numbers = [
            number
            for number in self._kinds[str(self.kind.value)]
            if not words or all(word in " ".join(self._rows[number]).casefold() for word in words)
        ]
        self._page = 0
        self._show()

    def _turn(self, by: int) -> None:
        self._page += by
        self._show()

    def _show(self) -> None:
        start = self._page * ON_A_PAGE
        page = self._numbers[start : start + ON_A_PAGE]
        self._table.value = self._html(page) if page else '<div class="ochre-help">There is none.</div>'
        self.back.disabled, self.next.disabled = start == 0, start + ON_A_PAGE >= len(self._numbers)
        last = f"{start + 1:,} to {start + len(page):,} of {len(self._numbers):,}" if page else ""
        self._place.value = f'<span class="ochre-help">{last}</span>'
        for button in (self.back, self.next):
            button.layout.display = "none" if len(self._numbers) <= ON_A_PAGE else None

    def _html(self, numbers: Sequence[int]) -> str:
        head = "".join(f"<th>{escape(column)}</th>" for column in self._columns)
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in self._rows[number]) + "</tr>" for number in numbers
        )
        return (
            f'<div class="ochre-scroll"><table class="ochre-table"><thead><tr>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div>"
        )
