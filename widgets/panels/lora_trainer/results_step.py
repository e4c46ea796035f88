"""The results: the LoRA's file, samples before and after, and how to use it."""

from __future__ import annotations

from html import escape
from pathlib import Path

import ipywidgets as ipw
from IPython.display import FileLink

from core.config.toml_file import read_toml
from core.manager.training_executor import Job
from core.training.events import Sampled, Stopped
from widgets.epochs import EpochChoice, candidates, file_note
from widgets.run_view import sample_grid
from widgets.wording import note

PLACES = {
    "ComfyUI": "ComfyUI/models/loras",
    "Forge, A1111": "models/Lora",
}
"""Program -> its folder for LoRAs."""


class ResultsStep:
    """What a run made."""

    def show(self, job: Job | None) -> list[ipw.Widget]:
        """The files, with the losses and the samples to choose one by; a sentence where there is nothing yet."""
        if job is None:
            return [ipw.HTML(note("There is no run yet.", "Train first."))]
        events = job.events()[0]
        if not candidates(events):
            stopped = isinstance(job.ending(), Stopped)
            why = "It was stopped before it saved one." if stopped else "The run has not saved one yet."
            samples = [event for event in events if isinstance(event, Sampled)]
            return [ipw.HTML(note("There is no LoRA yet.", why)), ipw.HTML(sample_grid(job.workspace, samples))]
        trigger = _trigger(job)
        choice = EpochChoice(
            job.workspace,
            events,
            above=lambda chosen: [ipw.HTML(file_note(chosen)), _link(chosen.files[0])],
            below=lambda chosen: [ipw.HTML(usage(chosen.files[0], trigger))],
        )
        return [choice.widget]


def usage(path: Path, trigger: str) -> str:
    """How to use a LoRA, as HTML."""
    places = "".join(
        f"<dt>{escape(program)}</dt><dd><code>{escape(place)}</code></dd>" for program, place in PLACES.items()
    )
    prompt = f"{trigger}, ... <lora:{path.stem}:1>" if trigger else f"... <lora:{path.stem}:1>"
    return (
        '<details class="ochre-note" open><summary><b>How to use it</b></summary>'
        "<p>Put the file into the folder of your program:</p>"
        f'<dl class="ochre-facts ochre-places">{places}</dl>'
        f"<p>Then write the trigger word into the prompt; in Forge and A1111 name the LoRA there, too:</p>"
        f"<code>{escape(prompt)}</code><p>Weaker or stronger than 1: 0.6 to 1.2.</p></details>"
    )


def _link(path: Path) -> ipw.Output:
    """A link that downloads the file, where the server's folder holds it."""
    shown = ipw.Output()
    here = Path.cwd()
    if path.resolve().is_relative_to(here):
        shown.append_display_data(FileLink(str(path.resolve().relative_to(here)), result_html_prefix="Download: "))
    return shown


def _trigger(job: Job) -> str:
    """The first trigger word of the run."""
    concepts = read_toml(job.workspace / "run.toml").get("concepts", [])
    return next((concept["trigger_word"] for concept in concepts if concept.get("trigger_word")), "")
