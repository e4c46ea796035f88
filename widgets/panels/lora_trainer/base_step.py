"""The base model: its path, and what was detected."""

from __future__ import annotations

from html import escape
from pathlib import Path

import ipywidgets as ipw

from core.manager.model_detector import Detected, ModelDetector
from core.registry import registry
from widgets.panels.lora_trainer.draft import Draft
from widgets.report import Report
from widgets.wording import facts, file_size

MODELS = Path("models")
"""Where models are looked for that the input suggests."""


class BaseStep:
    """The section of the base model, and a report on the model."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._report = Report()
        families = registry("families").all().items()
        source, family = draft.form.row("base.source"), draft.form.row("base.family")
        source.suggestions = suggested_models()
        family.options = [("detect", "detect"), *((str(cls.label), name) for name, cls in families)]
        draft.form.on_change(lambda path: self._look_later() if path == "base.source" else None)

    def show(self) -> list[ipw.Widget]:
        """The rows and the report."""
        self._report.show(self._found)
        return [self._draft.form.body("base"), self._report.widget]

    def _look_later(self) -> None:
        self._report.show_later(self._found, "Looking at the model ...")

    def _found(self) -> str:
        return describe(ModelDetector().detect(str(self._draft.form.row("base.source").data())))


def describe(found: Detected) -> str:
    """What was detected, as HTML."""
    prediction = found.prediction or "epsilon (assumed)"
    told = "".join(f"<li>{escape(reason)}</li>" for reason in found.why)
    shown = {
        "Prediction": prediction + (", zero terminal SNR" if found.zero_terminal_snr else ""),
        "Size": file_size(found.size) if found.size else "",
        "Found at": found.path,
    }
    title = escape(f"{found.label}, {found.variant}" if found.variant else found.label)
    return (
        f'<div class="ochre-note good"><b>{title}</b>{facts(shown)}'
        f"<details><summary>How this is known</summary><ul>{told}</ul></details></div>"
    )


def suggested_models() -> list[str]:
    """The demo's model, and those in the folder for models."""
    found = [path for suffix in ("*.safetensors", "*.ckpt") for path in MODELS.rglob(suffix)]
    folders = [path.parent for path in MODELS.glob("*/model_index.json")]
    single = [path for path in found if not any(folder in path.parents for folder in folders)]
    return ["demo/model", *sorted(str(path) for path in [*single, *folders])]
