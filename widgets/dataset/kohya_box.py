"""Takes over a kohya dataset config, or folders named in its way, after showing what was understood."""

from __future__ import annotations

from pathlib import Path

import ipywidgets as ipw

from core.dataset.kohya.reading import Imported, read_kohya
from core.errors import OchreError
from widgets.dataset.overview import listed
from widgets.dataset.take_over import TakeOver
from widgets.field import to_text
from widgets.form import Form
from widgets.wording import error_note, note


class KohyaBox:
    """form: where the concepts go, in its `concepts`."""

    def __init__(self, form: Form) -> None:
        self._take_over = TakeOver(form)
        self._read: Imported | None = None
        self.path = _path("From kohya", "dataset.toml, or a folder with folders such as 10_cat")
        self.regularisation = _path("Regularisation", "the folder of regularisation folders, if any")
        self.read = ipw.Button(description="Read", icon="folder-open", tooltip="Shows what is understood.")
        self.add = ipw.Button(description="Add these concepts", icon="plus")
        self.replace = ipw.Button(description="Put them in place of the present ones")
        self.said = ipw.HTML()
        self.read.on_click(lambda _: self._show())
        self.add.on_click(lambda _: self._take(keep=True))
        self.replace.on_click(lambda _: self._take(keep=False))
        self._ask = ipw.HBox([self.add, self.replace])
        first = ipw.HBox([self.path, self.read], _dom_classes=("ochre-chooser", "ochre-wide"))
        second = ipw.HBox([self.regularisation], _dom_classes=("ochre-chooser", "ochre-wide"))
        self._rows = (first, second, self.said, self._take_over.back)
        self.widget = ipw.VBox(self._rows)

    def _show(self) -> None:
        """Read, and say what was understood; nothing is changed by it."""
        self._read = None
        beside = self.regularisation.value.strip()
        try:
            self._read = read_kohya(
                Path(self.path.value.strip()).expanduser(), Path(beside).expanduser() if beside else None
            )
        except OchreError as error:
            self.said.value = error_note(error)
        else:
            self.said.value = describe(self._read)
        self._offer()

    def _take(self, keep: bool) -> None:
        if self._read is None:
            return
        found, self._read = self._read, None
        self._take_over.take(found.concepts, keep, found.settings)
        count = len(found.concepts)
        self.said.value = note(
            "Taken over.", f"{count} {'concept' if count == 1 else 'concepts'} from {found.source}.", "good"
        )
        self._offer()

    def _offer(self) -> None:
        self.widget.children = (*self._rows[:3], self._ask) if self._read else self._rows


def describe(found: Imported) -> str:
    """What was understood, what differs and what is left out, as HTML."""
    concepts = [f"{concept.name}: {concept.folder}, {to_text(concept.repeats)}×" for concept in found.concepts]
    settings = [f"{path} = {to_text(value)}" for path, value in found.settings.items()]
    return (
        listed("Understood", concepts, "good")
        + listed("Settings of the run that come with them", settings)
        + listed("Taken, with a difference", found.differing)
        + listed("Not taken", found.left_out, "bad")
    )


def _path(label: str, placeholder: str) -> ipw.Text:
    return ipw.Text(description=label, placeholder=placeholder, _dom_classes=("ochre-input", "ochre-path"))
