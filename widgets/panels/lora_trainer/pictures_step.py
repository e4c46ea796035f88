"""The pictures: concepts, uploads into their folders, and what was found there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as ipw

from core.dataset.manifest import Entry
from core.dataset.pictures import SUFFIXES
from core.dataset.survey import Survey, survey
from core.errors import OchreError
from widgets.body import Card
from widgets.panels.lora_trainer.draft import Draft
from widgets.report import Report
from widgets.thumbnails import image
from widgets.wording import error_note, facts, note

PICTURES_SHOWN = 8
LINES_SHOWN = 12


class PicturesStep:
    """The concepts' cards, the sizes, and a report on the pictures."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._report = Report()
        draft.form.cards("concepts").extra = self._upload

    def show(self) -> list[ipw.Widget]:
        """The cards and the report."""
        self._report.show(self._found)
        again = ipw.Button(description="Look at the pictures", icon="search")
        again.on_click(lambda _: self._look())
        form = self._draft.form
        return [form.body("concepts"), form.sections(["buckets"], search=False), again, self._report.widget]

    def _look(self) -> None:
        self._report.show_later(self._found, "Looking at the pictures ...")

    def _found(self) -> str:
        config, problems = self._draft.generator.validate(self._draft.form.data())
        own = [problem for problem in problems if problem.path.split(".")[0] in ("concepts", "buckets")]
        if config is None or own:
            return note("Correct these first.", "\n".join(str(problem) for problem in own or problems), "bad")
        return describe(survey(config.concepts, config.buckets))

    def _upload(self, card: Card) -> list[ipw.Widget]:
        said = ipw.HTML()
        upload = ipw.FileUpload(
            multiple=True, accept=",".join([*sorted(SUFFIXES), ".txt"]), description="Upload pictures and captions"
        )

        def take(change: Mapping[str, Any]) -> None:
            if not change["new"]:
                return
            folder = str(card.node.data().get("folder", ""))
            try:
                said.value = note("Uploaded", "\n".join(save_uploads(change["new"], folder)))
            except OchreError as error:
                said.value = error_note(error)
            upload.value = ()
            self._look()

        upload.observe(take, "value")
        return [ipw.HBox([upload], _dom_classes=("ochre-indented",)), said]


def save_uploads(files: Iterable[Mapping[str, Any]], folder: str) -> list[str]:
    """Write uploaded files (`name`, `content`) into a folder, and say what became of them. Nothing is overwritten.

    OchreError if there is no folder to write to.
    """
    if not folder.strip():
        raise OchreError(
            "There is no folder yet.", do="Write the concept's folder first; it is made if it isn't there."
        )
    place = Path(folder).expanduser()
    if place.resolve().is_relative_to(Path("demo").resolve()):
        raise OchreError("The demo's folder stays as it is.", do="Write a folder of your own, then upload again.")
    saved, said = 0, []
    try:
        place.mkdir(parents=True, exist_ok=True)
        for file in files:
            name = Path(str(file["name"]).replace("\\", "/")).name
            if Path(name).suffix.lower() not in {*SUFFIXES, ".txt"}:
                said.append(f"{name} is neither a picture nor a caption; left out")
            elif (place / name).exists():
                said.append(f"{name} is there already; left as it is")
            else:
                (place / name).write_bytes(bytes(file["content"]))
                saved += 1
    except OSError as error:
        raise OchreError(f"The files can't be written to {place}.", error.strerror or str(error)) from error
    return [f"{saved} {'file' if saved == 1 else 'files'} saved to {place}", *said]


def describe(found: Survey) -> str:
    """What the folders hold, as HTML."""
    per_concept = {
        concept.name or concept.folder: _count(found, index)
        for index, concept in enumerate(found.concepts)
        if concept.enabled
    }
    buckets = ", ".join(f"{size}: {count}" for size, count in found.bucket_counts().items())
    pictures = "".join(_picture(entry) for entry in _some(found.entries))
    return (
        f'<div class="ochre-note good"><b>{len(found.entries)} pictures</b>'
        f"{facts({**per_concept, 'Sizes': buckets})}</div>"
        f'<div class="ochre-pictures">{pictures}</div>'
        + _listed("Worth a look", found.warnings)
        + _listed("Converted", found.converted)
        + _listed("Left out", found.left_out, "bad")
    )


def _count(found: Survey, index: int) -> str:
    count = sum(entry.concept == index for entry in found.entries)
    repeats = found.concepts[index].repeats
    return f"{count} pictures" + (f", each {repeats} times: {count * repeats}" if repeats > 1 else "")


def _some(entries: list[Entry]) -> list[Entry]:
    """A few pictures from all over the list."""
    if len(entries) <= PICTURES_SHOWN:
        return entries
    return [entries[index * len(entries) // PICTURES_SHOWN] for index in range(PICTURES_SHOWN)]


def _picture(entry: Entry) -> str:
    return f'<div class="ochre-sample">{image(Path(entry.path), entry.caption)}</div>'


def _listed(title: str, lines: Iterable[object], kind: str = "") -> str:
    shown = [str(line) for line in lines]
    if not shown:
        return ""
    more = [f"... and {len(shown) - LINES_SHOWN} more"] if len(shown) > LINES_SHOWN else []
    items = "".join(f"<li>{escape(line)}</li>" for line in [*shown[:LINES_SHOWN], *more])
    return f'<div class="ochre-note {kind}"><b>{escape(title)} ({len(shown)})</b><ul>{items}</ul></div>'
