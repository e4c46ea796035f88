"""The pictures: concepts, their sizes, what was found in their folders, and the cache of what was encoded."""

from __future__ import annotations

from pathlib import Path

import ipywidgets as ipw

from core.dataset.report import Run
from core.dataset.reporting import advice
from core.dataset.settings import Concept
from core.settings.checks import validate
from core.training.cache_usage import DEFAULT
from widgets.body import Card
from widgets.dataset.cache_box import CacheBox
from widgets.dataset.gallery import Gallery
from widgets.dataset.kohya_box import KohyaBox
from widgets.dataset.report_view import ReportView
from widgets.dataset.sets_box import SetsBox
from widgets.dataset.statistics import Statistics
from widgets.fold import Fold
from widgets.panels.lora_trainer.draft import Draft


class PicturesStep:
    """The concepts' cards, the sizes, a report on the pictures, and the cache."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self.look = draft.look
        self.report = ReportView(self.look)
        self.cache = CacheBox(self._cache_folder)
        cards = draft.form.cards("concepts")
        self.gallery = cards.shown_as = Gallery(cards, self._statistics, self._advice, self.report.refresh)
        draft.form.on_change(self._changed)

    def show(self) -> list[ipw.Widget]:
        """The cards and the report."""
        again = ipw.Button(description="Look at the pictures", icon="search")
        again.on_click(lambda _: self.report.refresh())
        form = self._draft.form
        self.report.refresh(tokens=False)  # they come with the first click: opening a panel loads nothing heavy
        cache = Fold("Cache", lambda: [self.cache.widget], self.cache.refresh)
        sizes = form.sections(["buckets"], search=False)
        sets = Fold("Saved sets and import", lambda: [SetsBox(form).widget, KohyaBox(form).widget])
        folds = ipw.VBox([sizes, sets.widget, cache.widget], _dom_classes=("ochre-folds",))
        return [form.body("concepts"), folds, again, self.report.widget]

    def _statistics(self, card: Card) -> Statistics:
        return Statistics(self.look, lambda: self._draft.form.cards("concepts").cards.index(card))

    def _advice(self, card: Card) -> list[str]:
        """What in a concept's settings doesn't fit together; nothing where they are wrong."""
        concept = validate(Concept, card.node.data())[0]
        memory = self._draft.form.data()["memory"]
        kept = (memory["latent_caching"] is True, memory["text_caching"] is True)
        return list(advice(concept, Run(None, *kept))) if concept else []

    def _changed(self, path: str) -> None:
        if path.split(".")[0] in ("concepts", "buckets"):
            self.report.outdated()

    def _cache_folder(self) -> Path:
        """The one that the run would use."""
        data = self._draft.form.data()
        chosen, workspace = str(data["memory"]["cache_dir"]), str(data["saving"]["workspace"])
        return Path(chosen) if chosen else Path(workspace).parent / "cache" if workspace else DEFAULT
