"""What every panel is: steps that are shown one per cell, in the theme of the user."""

from __future__ import annotations

from typing import ClassVar

import ipywidgets as ipw

from widgets.theme import Theme


class Panel:
    """The cells of one notebook. `name` is that of the panel's file."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self._theme = Theme()

    def theme(self) -> ipw.Widget:
        """Choose how the notebook looks."""
        return self._theme.dress(self._theme.chooser)

    def dress(self, *content: ipw.Widget) -> ipw.VBox:
        """A cell in the theme's colours."""
        return self._theme.dress(*content)
