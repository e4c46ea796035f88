"""The check: every problem at once, or what the run will do."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import ipywidgets as ipw

from core.config.lora import LoraConfig
from core.errors import OchreError, Problem, SettingsError
from core.training.planning import TrainingPlan
from widgets.field import replacement_button
from widgets.panels.lora_trainer.draft import Draft
from widgets.report import Report, Work
from widgets.wording import facts, note

LINES_SHOWN = 12


class CheckStep:
    """The list of problems, each with the click that solves it, and the plan."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self.problems = ipw.VBox()
        self.report = Report()
        self._again = ipw.Button(description="Check again", icon="refresh")
        self._again.on_click(lambda _: self._check(self._show_later))

    def show(self) -> list[ipw.Widget]:
        """Check, and show what was found."""
        self._check(self.report.show)
        return [self.problems, self.report.widget, self._again]

    def _show_later(self, work: Work) -> None:
        self.report.show_later(work, "Looking at the pictures and counting the steps ...")

    def _check(self, show: Callable[[Work], None]) -> None:
        config, problems = self._draft.check()
        self.problems.children = tuple(self._row(problem) for problem in problems)
        if config is None or problems:
            count = "One thing stands" if len(problems) == 1 else f"{len(problems)} things stand"
            show(lambda: note(f"{count} in the way.", "Each is marked beside its setting, too.", "bad"))
            return
        show(lambda: self._planned(config))

    def _planned(self, config: LoraConfig) -> str:
        try:
            return describe(self._draft.executor.plan(config))
        except SettingsError as error:
            raise OchreError("The run can't start.", "\n".join(self._line(one) for one in error.problems)) from error

    def _row(self, problem: Problem) -> ipw.Widget:
        line = ipw.HTML(f'<div class="ochre-problem" role="alert">{escape(self._line(problem))}</div>')
        if not problem.replacement:
            return line
        button = replacement_button(problem, self._draft.form.replace)
        button.on_click(lambda _: self._check(self._show_later))
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
    about = "" if plan.total_steps == plan.epochs * plan.steps_per_epoch else "about "
    shown = {
        "Pictures": ", ".join(pictures),
        "Sizes": ", ".join(f"{size}: {count}" for size, count in plan.buckets.items()),
        "Steps": f"{plan.total_steps} in {plan.epochs} epochs, {about}{plan.steps_per_epoch} in each",
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
