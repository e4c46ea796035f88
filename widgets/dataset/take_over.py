"""Puts concepts from elsewhere into a form, and the former ones back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as ipw

from core.config.toml_file import to_data
from core.dataset.settings import Concept
from widgets.form import Form


class TakeOver:
    """form: whose `concepts` are changed. back: the button that puts the former ones back, where there are such."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._before: dict[str, Any] | None = None
        self.back = ipw.Button(description="Put the former ones back", icon="undo", _dom_classes=("ochre-quiet",))
        self.back.on_click(lambda _: self._put_back())
        self._show()

    def take(self, concepts: Sequence[Concept], keep: bool, settings: Mapping[str, Any] | None = None) -> None:
        """Put concepts in, and settings by their paths. keep: the present concepts stay in front of them."""
        data = self._form.data()
        present: list[Any] = data["concepts"] if keep else []
        changes = {"concepts": [*present, *map(to_data, concepts)], **(settings or {})}
        self._before = {path: _at(data, path) for path in changes}
        self._form.replace(changes)
        self._show()

    def _put_back(self) -> None:
        before, self._before = self._before, None
        if before:
            self._form.replace(before)
        self._show()

    def _show(self) -> None:
        self.back.layout.display = None if self._before else "none"


def _at(data: Any, path: str) -> Any:
    for key in path.split("."):
        data = data[key]
    return data
