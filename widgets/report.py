"""A place that shows what some work found: at once in a cell, on a thread after a click, lest the page stand still."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from html import escape

import ipywidgets as ipw

from core.errors import OchreError
from widgets.wording import error_note

Work = Callable[[], str]


class Report:
    """Shows the HTML that work returns, or the OchreError that it raises."""

    def __init__(self) -> None:
        self.widget = ipw.HTML()
        self._asked = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def show(self, work: Work) -> None:
        """Do the work and show what it returns."""
        self._asked += 1
        self.widget.value = _outcome(work)

    def show_later(self, work: Work, meanwhile: str) -> None:
        """Do the work on a thread and show what it returns, unless other work was asked for since.

        Without a running loop, as in a script, it is done at once.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.show(work)
            return
        self._asked += 1
        self.widget.value = f'<div class="ochre-help">{escape(meanwhile)}</div>'
        task = loop.create_task(self._do(work, self._asked))
        self._tasks.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(self._tasks.discard)

    async def _do(self, work: Work, number: int) -> None:
        html = await asyncio.to_thread(_outcome, work)
        if number == self._asked:
            self.widget.value = html


def _outcome(work: Work) -> str:
    try:
        return work()
    except OchreError as error:
        return error_note(error)
