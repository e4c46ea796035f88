"""What was found in the concepts' folders: an overview, every picture, and what the model will see."""

from __future__ import annotations

from pathlib import Path

import ipywidgets as ipw
from IPython.display import FileLink

from core.dataset.report import DatasetReport
from core.errors import OchreError
from core.training.run_folder import write_text
from widgets.background import Background, Tell, told_on_loop
from widgets.dataset.fates import fate_table
from widgets.dataset.look import Look
from widgets.dataset.overview import overview
from widgets.dataset.preview import Preview
from widgets.tabs import Tabs
from widgets.wording import error_note, note

SAVED = Path("workspaces/dataset_report.json")
"""Where the report is saved, in place of an earlier one."""


class ReportView:
    """Shows the latest look at the pictures."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._background = Background()
        self._said = ipw.HTML()
        self.tabs: Tabs | None = None
        self.widget = ipw.VBox([self._said])

    def refresh(self, tokens: bool = True) -> None:
        """Look at the pictures again, and show what is found. tokens: count those of the captions, too."""
        self._said.value = '<div class="ochre-help">Looking at the pictures ...</div>'
        if self.tabs is None:
            self.widget.children = (self._said,)
        else:
            self.widget.children = (self._said, self.tabs.widget)
        tell = told_on_loop(self._tell)
        self._background.do(lambda: self._looked(tell, tokens), self._show)

    def outdated(self) -> None:
        """Say that the settings are no longer those of the report."""
        if self.tabs and self._said not in self.widget.children:
            self._said.value = '<div class="ochre-help">The settings have changed since. Look again.</div>'
            self.widget.children = (self._said, self.tabs.widget)

    def _tell(self, done: int, total: int) -> None:
        if self._said in self.widget.children:
            self._said.value = f'<div class="ochre-help">Looking at the pictures: {done:,} of {total:,}</div>'

    def _looked(self, tell: Tell, tokens: bool) -> tuple[DatasetReport, str] | OchreError:
        """The report, and its overview: small copies of large pictures take a while, too."""
        try:
            report = self._look.again(tell, tokens).report
        except OchreError as error:
            return error
        return report, overview(report)

    def _show(self, found: tuple[DatasetReport, str] | OchreError) -> None:
        if isinstance(found, OchreError):
            self._said.value = error_note(found)
            self.widget.children = (self._said,)
            return
        report, shown = found
        self.tabs = Tabs(
            {
                "Overview": lambda: [ipw.HTML(shown), Saving(report).widget],
                f"Every picture ({len(report.pictures):,})": lambda: [fate_table(report).widget],
                "What the model will see": lambda: [Preview(self._look.plan).widget],
            }
        )
        self.widget.children = (self.tabs.widget,)


class Saving:
    """A button that saves the report as a JSON file, and a link to it."""

    def __init__(self, report: DatasetReport) -> None:
        self._report = report
        self.button = ipw.Button(description="Save the report as JSON", icon="download", _dom_classes=("ochre-quiet",))
        self.button.on_click(lambda _: self._save())
        self.said = ipw.HTML()
        self.link = ipw.Output()
        self.widget = ipw.VBox([self.button, self.said, self.link])

    def _save(self) -> None:
        try:
            SAVED.parent.mkdir(exist_ok=True)
            write_text(SAVED, self._report.to_json())
        except OSError as error:
            self.said.value = note(f"{SAVED} can't be written.", error.strerror or str(error), "bad")
            return
        except OchreError as error:
            self.said.value = error_note(error)
            return
        self.said.value = note("Saved", str(SAVED), "good")
        self.link.outputs = ()
        self.link.append_display_data(FileLink(str(SAVED), result_html_prefix="Download: "))
