"""The check: every problem at once, or what the run will do."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import ipywidgets as ipw

from core.config.lora import LoraConfig
from core.errors import OchreError, Problem, SettingsError
from core.training.planning import TrainingPlan
from widgets.background import Background
from widgets.field import replacement_button
from widgets.panels.lora_trainer.draft import Draft
from widgets.schedule_plot import learners_of, schedule_plot
from widgets.wording import counted, error_note, facts, note

LINES_SHOWN = 12


class CheckStep:
    """The list of problems, each with the click that solves it; or the plan, and how the rates go."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._background = Background()
        self.problems = ipw.VBox()
        self.report = ipw.HTML()
        self._again = ipw.Button(description="Check again", icon="refresh")
        self._again.on_click(lambda _: self._check_later())

    def show(self) -> list[ipw.Widget]:
        """Check, and show what was found."""
        self._background.forget()
        if config := self._checked():
            self._tell(config, self._planned(config))
        return [self.problems, self.report, self._again]

    def _check_later(self) -> None:
        """Check; look at the pictures on a thread."""
        self._background.forget()
        if config := self._checked():
            self.report.value = '<div class="ochre-help">Looking at the pictures and counting the steps ...</div>'
            self._background.do(lambda: self._planned(config), lambda found: self._tell(config, found))

    def _checked(self) -> LoraConfig | None:
        """The config; None, and its problems are shown, if it has any."""
        config, problems = self._draft.check()
        self._list(problems)
        return None if problems else config

    def _planned(self, config: LoraConfig) -> TrainingPlan | OchreError:
        try:
            return self._draft.executor.plan(config)
        except OchreError as error:
            return error

    def _tell(self, config: LoraConfig, found: TrainingPlan | OchreError) -> None:
        if isinstance(found, TrainingPlan):
            learners = learners_of(config, self._draft.rates(config), found.length)
            self.report.value = describe(found) + schedule_plot(config, learners, found.length)
        elif isinstance(found, SettingsError):  # what shows only when the steps are counted
            self._draft.form.show(found.problems)
            self._list(found.problems)
        else:
            self.report.value = error_note(found)

    def _list(self, problems: Sequence[Problem]) -> None:
        self.problems.children = tuple(self._row(problem) for problem in problems)
        count = "One thing stands" if len(problems) == 1 else f"{len(problems)} things stand"
        stands = note(f"{count} in the way.", "Each is marked beside its setting, too.", "bad")
        self.report.value = stands if problems else ""

    def _row(self, problem: Problem) -> ipw.Widget:
        line = ipw.HTML(f'<div class="ochre-problem" role="alert">{escape(self._line(problem))}</div>')
        if not problem.replacement:
            return line
        button = replacement_button(problem, self._draft.form.replace)
        button.on_click(lambda _: self._check_later())
        return ipw.VBox([line, button], _dom_classes=("ochre-solvable",))

    def _line(self, problem: Problem) -> str:
        where = self._draft.form.title(problem.path) if problem.path else ""
        return f"{where}: {problem.message}" if where else problem.message


def describe(plan: TrainingPlan) -> str:
    """What the run will do, as HTML."""
    pictures = [f"{plan.pictures}"]
    if plan.tiles:
        pictures.append(f"{plan.tiles} tiles of them")
    if plan.per_epoch != plan.pictures:
        pictures.append(f"{plan.per_epoch} shown in each epoch")
    if plan.held_out:
        pictures.append(f"{plan.held_out} held out to measure with")
    epochs = plan.length.epochs
    about = "" if plan.total_steps == epochs * plan.steps_per_epoch else "about "
    shown = {
        "Pictures": ", ".join(pictures),
        "Sizes": ", ".join(f"{size}: {count}" for size, count in plan.buckets.items()),
        "Steps": f"{plan.total_steps:,} in {counted(epochs, 'epoch')}, {about}{plan.steps_per_epoch:,} in each",
        "Workspace": plan.workspace or "a new folder under workspaces/, named by date and name",
        "Writes": ", ".join(plan.writes[:4]) + (f" and {len(plan.writes) - 4} more" if len(plan.writes) > 4 else ""),
    }
    html = f'<div class="ochre-note good"><b>Ready to train.</b>{facts(shown)}</div>'
    notes = (
        ("Worth a look", plan.warnings),
        ("Held out to measure with", plan.measured),
        ("Converted", plan.converted),
        ("Left out", plan.left_out),
    )
    for title, lines in notes:
        if lines:
            more = [f"... and {len(lines) - LINES_SHOWN} more"] if len(lines) > LINES_SHOWN else []
            text = "\n".join([*(str(line) for line in lines[:LINES_SHOWN]), *more])
            html += note(f"{title} ({len(lines)})", text)
    return html
