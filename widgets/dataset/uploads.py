"""A button that uploads pictures and captions into a concept's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import ipywidgets as ipw

from core.dataset.formats import suffixes
from core.errors import OchreError
from widgets.wording import error_note, note

CAPTIONS = frozenset({".txt", ".caption", ".json"})
"""What the name of a file with captions ends in."""


class Upload:
    """folder: gives where files go. done: called after files came."""

    def __init__(self, folder: Callable[[], str], done: Callable[[], None]) -> None:
        self._folder, self._done = folder, done
        self._said = ipw.HTML()
        endings = ",".join(sorted(suffixes() | CAPTIONS))
        self._button = ipw.FileUpload(multiple=True, accept=endings, description="Upload pictures and captions")
        self._button.observe(self._take, "value")
        self.widget = ipw.VBox([self._button, self._said], _dom_classes=("ochre-indented",))

    def _take(self, change: Mapping[str, Any]) -> None:
        if not change["new"]:
            return
        try:
            self._said.value = note("Uploaded", "\n".join(save_uploads(change["new"], self._folder())))
        except OchreError as error:
            self._said.value = error_note(error)
        self._button.value = ()
        self._done()


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
            if Path(name).suffix.lower() not in suffixes() | CAPTIONS:
                said.append(f"{name} is neither a picture nor a caption; left out")
            elif (place / name).exists():
                said.append(f"{name} is there already; left as it is")
            else:
                (place / name).write_bytes(bytes(file["content"]))
                saved += 1
    except OSError as error:
        raise OchreError(f"The files can't be written to {place}.", error.strerror or str(error)) from error
    return [f"{saved} {'file' if saved == 1 else 'files'} saved to {place}", *said]
