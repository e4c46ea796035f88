"""A header that opens what stands under it, which is built when it is opened first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets as ipw

from widgets.field import shared


class Fold:
    """A box that is closed at first.

    build: gives what is inside. opened: called each time it is opened.
    """

    def __init__(
        self, title: str, build: Callable[[], Sequence[ipw.Widget]], opened: Callable[[], None] = lambda: None
    ) -> None:
        self._build, self._opened = build, opened
        self._inside: ipw.VBox | None = None
        self._header = ipw.ToggleButton(description=title, icon="chevron-right", layout=shared(ipw.Layout))
        self._header.add_class("ochre-section-header")
        self._header.observe(lambda _: self._refresh(), "value")
        self.widget = ipw.VBox([self._header], _dom_classes=("ochre-section",))

    def open(self) -> None:
        """Show what is inside."""
        self._header.value = True

    def _refresh(self) -> None:
        opened = self._header.value
        self._header.icon = "chevron-down" if opened else "chevron-right"
        if opened and self._inside is None:
            self._inside = ipw.VBox(list(self._build()), _dom_classes=("ochre-body",))
        self.widget.children = (self._header, self._inside) if opened and self._inside else (self._header,)
        if opened:
            self._opened()
