"""Profiles: chosen from a dropdown, explained, applied, undone, and saved as one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import ipywidgets as ipw

from core.config.lora import LoraConfig
from core.config.toml_file import set_values
from core.errors import OchreError
from core.manager.config_generator import Change
from core.manager.profile_manager import Kind, Profile
from core.settings.tree import chooses_plugin
from widgets.field import to_text
from widgets.form import Form
from widgets.panels.lora_trainer.draft import DEMO, Draft
from widgets.wording import error_note, facts, note

AS_IT_IS = "None: all stays as it is"
"""What stands in a dropdown before anything was chosen from it."""


class ProfilesStep:
    """A chooser for training profiles, one for memory profiles, and one for sampling presets."""

    def __init__(self, draft: Draft) -> None:
        proposed = draft.profiles.propose_memory(draft.generator.machine)
        machine = draft.generator.machine
        memory = f", {machine.memory_gb:.0f} GB" if machine.memory_gb else ""
        self._machine = ipw.HTML(
            f'<div class="ochre-help">This machine: {escape(machine.name)}{memory}. '
            f"Proposed, and set in a fresh notebook: {escape(proposed.title)}.</div>"
        )
        self._training = Chooser(draft, "training", "Training profile", draft.profiles.get("training", DEMO))
        self._memory = Chooser(draft, "memory", "Memory profile", proposed)
        self._sampling = Chooser(draft, "sampling", "Sampling preset")

    def show(self) -> list[ipw.Widget]:
        """The three choosers."""
        for chooser in (self._training, self._memory, self._sampling):
            chooser.refresh()
        return [self._training.widget, self._machine, self._memory.widget, self._sampling.widget]


class Chooser:
    """One kind of profile. Choosing applies it at once; Undo takes back what it changed.

    chosen: the one that is applied already, if one is.
    """

    def __init__(self, draft: Draft, kind: Kind, title: str, chosen: Profile | None = None) -> None:
        self._draft, self._applied = draft, chosen
        self._kind: Kind = kind
        self._profiles: dict[str, Profile] = {}
        self._steps: list[tuple[Profile | None, dict[str, Any], list[Change]]] = []
        self._filling = False
        self.dropdown = ipw.Dropdown(description=title, _dom_classes=("ochre-input",))
        self.undo = ipw.Button(description="Undo", icon="undo", disabled=True)
        self.about, self.changes = ipw.HTML(), ipw.HTML()
        self.own = SaveOwn(draft, kind, self.refresh)
        head = ipw.HBox([self.dropdown, self.undo], _dom_classes=("ochre-chooser",))
        self.widget = ipw.VBox([head, self.about, self.changes, self.own.widget], _dom_classes=("ochre-card",))
        self.refresh()
        self.dropdown.observe(lambda change: self._choose(change["new"]), "value")
        self.undo.on_click(lambda _: self._undo())

    def refresh(self) -> None:
        """Look for profiles again, and show the one that was applied last."""
        found = {profile.name: profile for profile in self._draft.profiles.profiles(self._kind)}
        self._profiles = {**found, self._applied.name: self._applied} if self._applied else found
        self._filling = True
        options = [(_label(profile), name) for name, profile in self._profiles.items()]
        self.dropdown.options = options if self._applied else [(AS_IT_IS, ""), *options]
        self.dropdown.value = self._applied.name if self._applied else ""
        self._filling = False
        self.about.value = describe(self._applied.about) if self._applied else ""

    def _choose(self, name: str) -> None:
        if self._filling or not name:
            return
        before = self._draft.form.data()
        try:
            data, _ = self._draft.profiles.apply(self._profiles[name], before)
        except OchreError as error:
            self.changes.value = error_note(error)
            self.refresh()
            return
        self._draft.form.fill(data)
        changes = self._draft.generator.changes(before, self._draft.form.data())
        self._steps.append((self._applied, before, changes))
        self._show(self._profiles[name])
        self.changes.value = changes_table(self._draft.form, changes)

    def _undo(self) -> None:
        applied, before, changes = self._steps.pop()
        self._draft.form.fill(undone(self._draft.form.data(), before, changes))
        self._show(applied)
        self.changes.value = note("Undone.", "What the profile had changed is as it was.")

    def _show(self, applied: Profile | None) -> None:
        self._applied = applied
        self.undo.disabled = not self._steps
        self.refresh()


class SaveOwn:
    """Keeps the settings as a profile of the user's own."""

    def __init__(self, draft: Draft, kind: Kind, saved: Callable[[], None]) -> None:
        self._draft, self._saved = draft, saved
        self._kind: Kind = kind
        self._open = ipw.ToggleButton(description="Save as my own", icon="save", _dom_classes=("ochre-quiet",))
        self.title = ipw.Text(description="Title", _dom_classes=("ochre-input",))
        self.explanation = ipw.Text(description="What it is for", _dom_classes=("ochre-input",))
        self.button = ipw.Button(description="Save", icon="save")
        self.said = ipw.HTML()
        self._fields = ipw.VBox(
            [
                ipw.VBox([self.title], _dom_classes=("ochre-row",)),
                ipw.VBox([self.explanation], _dom_classes=("ochre-row",)),
                ipw.HBox([self.button], _dom_classes=("ochre-indented",)),
            ]
        )
        self.widget = ipw.VBox([self._open, self.said])
        self._open.observe(lambda change: self._show(change["new"]), "value")
        self.button.on_click(lambda _: self._save())

    def _show(self, opened: bool) -> None:
        self.widget.children = (self._open, self._fields, self.said) if opened else (self._open, self.said)

    def _save(self) -> None:
        try:
            profile = self._draft.profiles.save(
                self._kind, self.title.value, self.explanation.value, self._draft.form.data()
            )
        except OchreError as error:
            self.said.value = error_note(error)
            return
        self.said.value = note(f"Saved as {profile.title}.", str(profile.path), "good")
        self._open.value = False
        self._saved()


def undone(now: Mapping[str, Any], before: Mapping[str, Any], changes: Sequence[Change]) -> dict[str, Any]:
    """`now` with these changes taken back; what was changed elsewhere since stays.

    A list of tables, and a table whose plug-in was changed, come back whole.
    """
    whole, values = {}, {}
    for change in changes:
        top = change.path.split(".")[0]
        old, new = before[top], now[top]
        if isinstance(old, list) or (chooses_plugin(LoraConfig, [top]) and old["name"] != new["name"]):
            whole[top] = old
        else:
            values[change.path] = change.before
    return set_values({**now, **whole}, values)


def changes_table(form: Form, changes: Sequence[Change]) -> str:
    """What a profile changed, as HTML."""
    if not changes:
        return note("Nothing changed.", "All of the profile's settings were set already.")
    rows = "".join(
        f"<tr><td>{escape(form.title(change.path))}</td><td>{escape(_value(change.before))}</td>"
        f"<td>{escape(_value(change.after))}</td></tr>"
        for change in changes
    )
    count = "1 setting" if len(changes) == 1 else f"{len(changes)} settings"
    head = "<tr><th>Setting</th><th>Before</th><th>Now</th></tr>"
    return (
        f'<details class="ochre-note good" open><summary><b>Changed {count}</b></summary>'
        f'<table class="ochre-table">{head}{rows}</table></details>'
    )


def describe(about: Mapping[str, Any]) -> str:
    """What a profile is for, and where its values come from, as HTML."""
    sources = "".join(f"<li>{escape(str(source))}</li>" for source in about.get("sources", []))
    shown = {
        "When to use it": about.get("when_to_use", ""),
        "Pictures": about.get("pictures", ""),
        "What to expect": about.get("expect", ""),
        "Signs of too much": about.get("over", ""),
    }
    where = f"<details><summary>Where its values come from</summary><ul>{sources}</ul></details>" if sources else ""
    return f"<p>{escape(str(about.get('explanation', '')))}</p>{facts(shown)}{where}"


def _label(profile: Profile) -> str:
    return f"{profile.title} (my own)" if profile.user else profile.title


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        return str(value.get("name") or value.get("prompt") or "...")
    if isinstance(value, list):
        return ", ".join(_value(item) for item in value) or "none"
    return to_text(value) or "none"
