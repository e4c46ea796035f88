"""Sets of concepts under a name: save those of the form, load others."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as ipw

from core.dataset.settings import Concept
from core.errors import OchreError
from core.manager.concept_sets import ConceptSet, ConceptSets, name_of
from core.settings.checks import load
from widgets.dataset.overview import listed
from widgets.dataset.take_over import TakeOver
from widgets.form import Form
from widgets.wording import error_note, note


class SetsBox:
    """form: whose `concepts` are saved and loaded. sets: where; the user's own by default."""

    def __init__(self, form: Form, sets: ConceptSets | None = None) -> None:
        self._form, self._sets = form, sets or ConceptSets()
        self._take_over = TakeOver(form)
        self.chooser = ipw.Dropdown(description="Saved sets", _dom_classes=("ochre-input",))
        self.add = _button("Add", "plus", "Adds its concepts to the present ones.", lambda: self._load(keep=True))
        self.load = _button("Load", "folder-open", "Puts its concepts in place of the present ones.", self._load)
        self.delete = _button("Delete", "trash", "Removes the set, and no pictures.", lambda: self._ask(self._delete))
        self.title = ipw.Text(
            description="Save as", placeholder="What you call this set", _dom_classes=("ochre-input",)
        )
        self.save = _button("Save", "save", "Keeps the present concepts, to load into other runs.", self._save)
        self.sure = ipw.Button(_dom_classes=("ochre-fix",))
        self._no = _button("No", "", "", self._leave)
        self.said = ipw.HTML()
        self._question = ipw.HBox([self.sure, self._no], _dom_classes=("ochre-question",))
        self._does: Callable[[], None] = lambda: None
        self.sure.on_click(lambda _: self._does())
        self._rows = (
            ipw.HBox([self.chooser, self.load, self.add, self.delete], _dom_classes=("ochre-chooser", "ochre-wide")),
            ipw.HBox([self.title, self.save], _dom_classes=("ochre-chooser", "ochre-wide")),
            self.said,
            self._take_over.back,
        )
        self.widget = ipw.VBox(self._rows)
        self.refresh()

    def refresh(self, chosen: str = "") -> None:
        """List the sets, and say which can't be read."""
        found = self._sets.sets()
        options = [(_label(one), name) for name, one in found.items()]
        self.chooser.options = options or [("none yet", "")]
        self.chooser.value = chosen if chosen in found else self.chooser.options[0][1]
        for button in (self.add, self.load, self.delete):
            button.disabled = not found
        self.said.value = "".join(error_note(error) for error in self._sets.broken())

    def _load(self, keep: bool = False) -> None:
        try:
            one = self._sets.load(str(self.chooser.value))
        except OchreError as error:
            self.said.value = error_note(error)
            return
        self._take_over.take(one.concepts, keep)
        missing = listed("Not on this machine", (problem.message for problem in one.missing()), "bad")
        self.said.value = note("Loaded.", f"The concepts of {_label(one)}.", "good") + missing

    def _save(self, overwrite: bool = False) -> None:
        self._leave()
        title = self.title.value
        try:
            name = self._sets.save(title, self._concepts(), overwrite)
        except OchreError as error:
            self.said.value = error_note(error)
            if not overwrite and self._is_taken(title):
                self._ask(lambda: self._save(overwrite=True), "Replace the set of this name")
            return
        self.refresh(name)
        self.said.value = note("Saved.", f"Choose {title.strip()} under Saved sets, in any run.", "good")

    def _concepts(self) -> list[Concept]:
        """The form's, checked. SettingsError where one of them can't be used."""
        return load(ConceptSet, {"about": {"title": "concepts"}, "concepts": self._form.data()["concepts"]}).concepts

    def _is_taken(self, title: str) -> bool:
        try:
            return name_of(title) in self._sets.names()
        except OchreError:
            return False

    def _delete(self) -> None:
        try:
            self._sets.delete(str(self.chooser.value))
        except OchreError as error:
            self.said.value = error_note(error)
        else:
            self.refresh()
            self.said.value = note("Deleted.", "The pictures are where they were.")
        self._leave()

    def _ask(self, does: Callable[[], None], words: str = "Yes, delete this set") -> None:
        self._does = does
        self.sure.description = words
        self.widget.children = (*self._rows, self._question)

    def _leave(self) -> None:
        self.widget.children = self._rows


def _label(one: ConceptSet) -> str:
    count = "1 concept" if len(one.concepts) == 1 else f"{len(one.concepts)} concepts"
    return f"{one.about.title} ({count})"


def _button(words: str, icon: str, tooltip: str, does: Callable[[], None]) -> ipw.Button:
    button = ipw.Button(description=words, icon=icon, tooltip=tooltip)
    button.on_click(lambda _: does())
    return button
