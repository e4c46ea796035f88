"""All settings, in sections; and those of an earlier run, read from its file."""

from __future__ import annotations

from pathlib import Path

import ipywidgets as ipw

from core.errors import OchreError
from widgets.panels.lora_trainer.choices import NetworkFacts, OptimizerFacts
from widgets.panels.lora_trainer.draft import Draft
from widgets.panels.lora_trainer.plots import SchedulePlot, TimesPlot
from widgets.wording import error_note, note

SECTIONS = (
    "parts",
    "networks",
    "training",
    "optimizer",
    "schedule",
    "noise",
    "times",
    "losses",
    "weightings",
    "ema",
    "validation",
    "memory",
    "saving",
    "sampling",
    "metadata",
    "logging",
)
"""Those that no other step shows, in the order in which they matter."""


class SettingsStep:
    """The sections, and a field for the file of an earlier run."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self.path = ipw.Text(
            description="Take over from",
            placeholder="workspaces/.../run.toml",
            _dom_classes=("ochre-input", "ochre-path"),
        )
        self.read = ipw.Button(description="Read", icon="folder-open", tooltip="Replaces all settings by the file's.")
        self.said = ipw.HTML()
        self.read.on_click(lambda _: self._read())
        networks, weightings = draft.form.cards("networks"), draft.form.cards("weightings")
        networks.new, networks.adding = {"name": "embedding"}, "Add an embedding"
        weightings.new = {"name": "min_snr"}
        draft.form.cards("losses").new = {"name": "l1"}
        draft.form.put_into("schedule", SchedulePlot(draft), above=True)
        draft.form.put_into("times", TimesPlot(draft), above=True)
        facts = OptimizerFacts(draft)
        draft.form.choice("optimizer").label_options(facts.labels())
        draft.form.put_into("optimizer", facts)
        draft.form.put_into("networks", NetworkFacts(draft))

    def show(self) -> list[ipw.Widget]:
        """The sections."""
        head = ipw.HBox([self.path, self.read], _dom_classes=("ochre-chooser",))
        return [self._draft.form.sections(SECTIONS), head, self.said]

    def _read(self) -> None:
        path = Path(self.path.value.strip()).expanduser()
        try:
            data = self._draft.generator.read(path)
        except OchreError as error:
            self.said.value = error_note(error)
            return
        data["saving"] = {**data["saving"], "workspace": ""}  # a run of its own
        self._draft.form.fill(data)
        self.said.value = note(
            "Taken over.", f"All settings are those of {path}; the run gets a new workspace.", "good"
        )
