"""A place that shows what some work found: at once in a cell, on a thread after a click."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import ipywidgets as ipw

from core.errors import OchreError
from widgets.background import Background
from widgets.wording import error_note

Work = Callable[[], str]


class Report:
    """Shows the HTML that work returns, or the OchreError that it raises."""

    def __init__(self) -> None:
        self.widget = ipw.HTML()
        self._background = Background()

    def show(self, work: Work) -> None:
        """Do the work and show what it returns."""
        self._background.forget()
        self._put(outcome(work))

    def show_later(self, work: Work, meanwhile: str) -> None:
        """Do the work on a thread and show what it returns, unless other work was asked for since.

        Without a running loop, as in a script, it is done at once.
        """
        self._put(f'<div class="ochre-help">{escape(meanwhile)}</div>')
        self._background.do(lambda: outcome(work), self._put)

    def _put(self, html: str) -> None:
        self.widget.value = html


def outcome(work: Work) -> str:
    """What the work returns, or the OchreError that it raises, as HTML."""
    try:
        return work()
    except OchreError as error:
        return error_note(error)
