"""The cache of encoded pictures and captions: its size, and the buttons that make it smaller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import ipywidgets as ipw

from core.errors import OchreError
from core.training.cache_usage import Amount, CacheSummary, cache_summary, clear_cache, prune_cache
from widgets.background import Background
from widgets.wording import error_note, facts, file_size, note

TITLES = {"latents": "Pictures", "text": "Captions", "tile_captions": "Captions of tiles"}


class CacheBox:
    """folder: gives the cache's folder."""

    def __init__(self, folder: Callable[[], Path]) -> None:
        self._folder = folder
        self._background = Background()
        self._summary, self._said = ipw.HTML(), ipw.HTML()
        self.prune = ipw.Button(icon="leaf", disabled=True)
        self.clear = ipw.Button(description="Clear ...", icon="trash", disabled=True)
        self.surely = ipw.Button(description="Yes, remove everything", _dom_classes=("ochre-fix",))
        self._keep = ipw.Button(description="Keep it")
        self.prune.on_click(lambda _: self._remove(prune_cache))
        self.clear.on_click(lambda _: self._ask(True))
        self.surely.on_click(lambda _: self._remove(clear_cache))
        self._keep.on_click(lambda _: self._ask(False))
        self._buttons = ipw.HBox([self.prune, self.clear])
        self._question = ipw.HBox([self.surely, self._keep], _dom_classes=("ochre-question",))
        self.widget = ipw.VBox([self._summary, self._buttons, self._said])

    def refresh(self) -> None:
        """Look at the folder."""
        folder = self._folder()
        self._ask(False)
        self._background.do(lambda: _looked(folder), self._show)

    def _show(self, found: CacheSummary | OchreError) -> None:
        if isinstance(found, OchreError):
            self._summary.value = error_note(found)
            found = CacheSummary(self._folder(), {}, {}, [], [], [])
        else:
            self._summary.value = describe(found)
        self.clear.disabled = not found.total.files
        self.prune.disabled = not found.prunable.files
        size = f" ({file_size(found.prunable.bytes)})" if found.prunable.files else ""
        self.prune.description = f"Remove what no run uses{size}"

    def _ask(self, asked: bool) -> None:
        self._said.value = (
            note("Remove everything in the cache?", "Runs encode anew what they need.", "bad") if asked else ""
        )
        shown = self._question if asked else self._buttons
        self.widget.children = (self._summary, self._said, shown) if asked else (self._summary, shown, self._said)

    def _remove(self, remove: Callable[[Path], Mapping[str, Amount]]) -> None:
        folder = self._folder()
        self._ask(False)

        def work() -> str:
            try:
                removed = sum(remove(folder).values(), Amount())
            except OchreError as error:
                return error_note(error)
            return note("Removed", told(removed), "good")

        def then(said: str) -> None:
            self.refresh()
            self._said.value = said

        self._background.do(work, then)


def describe(found: CacheSummary) -> str:
    """What a cache folder holds, as HTML."""
    shown: dict[str, object] = {"Folder": found.folder}
    shown |= {TITLES.get(kind, kind): told(amount) for kind, amount in found.kinds.items()}
    if found.kinds:
        running = f", {len(found.running)} of them with a run that is going on" if found.running else ""
        count = "1 workspace" if len(found.workspaces) == 1 else f"{len(found.workspaces)} workspaces"
        shown["Used by"] = count + running
    else:
        shown["Size"] = "empty"
    return facts(shown)


def told(amount: Amount) -> str:
    """`12 files, 3.2 MB`."""
    return f"{amount.files:,} {'file' if amount.files == 1 else 'files'}, {file_size(amount.bytes)}"


def _looked(folder: Path) -> CacheSummary | OchreError:
    try:
        return cache_summary(folder)
    except OchreError as error:
        return error
