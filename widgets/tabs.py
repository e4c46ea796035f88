"""A row of tabs; a page is built when it is first chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import ipywidgets as ipw

from widgets.field import shared

Page = Callable[[], Sequence[ipw.Widget]]


class Tabs:
    """Pages by their titles, one of them in sight.

    chosen_by_user: called with the title of a page after the user chose it.
    """

    def __init__(self, pages: Mapping[str, Page]) -> None:
        self._pages = dict(pages)
        self._built: dict[str, ipw.VBox] = {}
        self._buttons = {title: self._button(title) for title in pages}
        self.chosen_by_user: Callable[[str], None] = lambda title: None
        self.chosen = next(iter(pages))
        bar = ipw.HBox(list(self._buttons.values()), layout=shared(ipw.Layout), _dom_classes=("ochre-tabs",))
        self.widget = ipw.VBox([bar], layout=shared(ipw.Layout), _dom_classes=("ochre-tabbed",))
        self.choose(self.chosen)

    def choose(self, title: str) -> None:
        """Show a page."""
        self.chosen = title
        if title not in self._built:
            self._built[title] = ipw.VBox(
                list(self._pages[title]()), layout=shared(ipw.Layout), _dom_classes=("ochre-page",)
            )
        for name, button in self._buttons.items():
            (button.add_class if name == title else button.remove_class)("ochre-on")
        self.widget.children = (self.widget.children[0], self._built[title])

    def mark(self, title: str, note: str, wrong: bool = False) -> None:
        """Write a note behind a page's title; empty for none."""
        button = self._buttons[title]
        button.description = f"{title} ({note})" if note else title
        (button.add_class if wrong else button.remove_class)("ochre-wrong")

    def _button(self, title: str) -> ipw.Button:
        button = ipw.Button(description=title, layout=shared(ipw.Layout), _dom_classes=("ochre-tab",))
        button.on_click(lambda _: self._press(title))
        return button

    def _press(self, title: str) -> None:
        self.choose(title)
        self.chosen_by_user(title)
