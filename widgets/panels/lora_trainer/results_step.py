"""The results: the LoRA's file, samples before and after, and how to use it."""

from __future__ import annotations

from html import escape
from pathlib import Path

import ipywidgets as ipw
from IPython.display import FileLink

from core.config.toml_file import read_toml
from core.manager.training_executor import Job
from core.training.events import Sampled, Saved, Stopped
from widgets.run_view import sample_grid
from widgets.wording import facts, file_size, note

PLACES = {
    "ComfyUI": "ComfyUI/models/loras",
    "Forge, A1111": "models/Lora",
}
"""Program -> its folder for LoRAs."""


class ResultsStep:
    """What a run made."""

    def show(self, job: Job | None) -> list[ipw.Widget]:
        """The files and the samples; a sentence where there is nothing yet."""
        if job is None:
            return [ipw.HTML(note("There is no run yet.", "Train first."))]
        events = job.events()[0]
        saved = [Path(event.path) for event in events if isinstance(event, Saved)]
        files = [path for path in dict.fromkeys(saved) if path.is_file()]
        samples = ipw.HTML(sample_grid(job.workspace, [event for event in events if isinstance(event, Sampled)]))
        if not files:
            stopped = isinstance(job.ending(), Stopped)
            why = "It was stopped before it saved one." if stopped else "The run has not saved one yet."
            return [ipw.HTML(note("There is no LoRA yet.", why)), samples]
        trigger = _trigger(job)
        return [ipw.HTML(describe(files[-1], trigger)), _link(files[-1]), samples, *_earlier(files[:-1])]


def describe(path: Path, trigger: str) -> str:
    """The LoRA and how to use it, as HTML."""
    places = "".join(
        f"<dt>{escape(program)}</dt><dd><code>{escape(place)}</code></dd>" for program, place in PLACES.items()
    )
    prompt = f"{trigger}, ... <lora:{path.stem}:1>" if trigger else f"... <lora:{path.stem}:1>"
    shown = {"File": path, "Size": file_size(path.stat().st_size)}
    return (
        f'<div class="ochre-note good"><b>{escape(path.name)}</b>{facts(shown)}</div>'
        f'<div class="ochre-note"><b>How to use it</b><p>Put the file into the folder of your program:</p>'
        f'<dl class="ochre-facts ochre-places">{places}</dl>'
        f"<p>Then write the trigger word into the prompt; in Forge and A1111 name the LoRA there, too:</p>"
        f"<code>{escape(prompt)}</code><p>Weaker or stronger than 1: 0.6 to 1.2.</p></div>"
    )


def _link(path: Path) -> ipw.Output:
    """A link that downloads the file, where the server's folder holds it."""
    shown = ipw.Output()
    here = Path.cwd()
    if path.resolve().is_relative_to(here):
        shown.append_display_data(FileLink(str(path.resolve().relative_to(here)), result_html_prefix="Download: "))
    return shown


def _earlier(files: list[Path]) -> list[ipw.Widget]:
    if not files:
        return []
    return [ipw.HTML(note("Saved earlier in the run", "\n".join(str(path) for path in files)))]


def _trigger(job: Job) -> str:
    """The first trigger word of the run."""
    concepts = read_toml(job.workspace / "run.toml").get("concepts", [])
    return next((concept["trigger_word"] for concept in concepts if concept.get("trigger_word")), "")
