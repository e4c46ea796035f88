"""What was found in the concepts' folders: an overview, every picture, and what the model will see."""

from __future__ import annotations

import ipywidgets as ipw

from core.errors import OchreError
from widgets.background import Background, Tell, told_on_loop
from widgets.dataset.look import Look, Looked
from widgets.dataset.overview import overview
from widgets.dataset.preview import Preview
from widgets.tabs import Tabs
from widgets.wording import error_note


class ReportView:
    """Shows the latest look at the pictures."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._background = Background()
        self._said = ipw.HTML()
        self.widget = ipw.VBox([self._said])

    def refresh(self) -> None:
        """Look at the pictures again, and show what is found."""
        self._said.value = '<div class="ochre-help">Looking at the pictures ...</div>'
        self.widget.children = (self._said,)
        tell = told_on_loop(self._tell)
        self._background.do(lambda: self._looked(tell), self._show)

    def _tell(self, done: int, total: int) -> None:
        if len(self.widget.children) == 1:
            self._said.value = f'<div class="ochre-help">Looking at the pictures: {done:,} of {total:,}</div>'

    def _looked(self, tell: Tell) -> Looked | OchreError:
        try:
            return self._look.again(tell)
        except OchreError as error:
            return error

    def _show(self, found: Looked | OchreError) -> None:
        if isinstance(found, OchreError):
            self._said.value = error_note(found)
            return
        tabs = Tabs(
            {
                "Overview": lambda: [ipw.HTML(overview(found.survey))],
                "What the model will see": lambda: [Preview(self._look.plan).widget],
            }
        )
        self.widget.children = (tabs.widget,)
