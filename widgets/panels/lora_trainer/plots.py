"""Drawings inside the settings: the learning rates over the run, and how often each noise level is trained."""

from __future__ import annotations

import ipywidgets as ipw

from widgets.panels.lora_trainer.draft import Draft
from widgets.schedule_plot import learners_of, schedule_plot
from widgets.times_plot import times_plot


class SchedulePlot:
    """The rate of everything that learns, as the form stands now."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self.widget = ipw.HTML()

    def refresh(self) -> None:
        """Draw it anew; what doesn't fit its type leaves the last drawing."""
        config = self._draft.config()
        if config is not None:
            length, known = self._draft.length(config)
            learners = learners_of(config, self._draft.rates(config), length)
            self.widget.value = schedule_plot(config, learners, length, known)


class TimesPlot:
    """The distribution of the times, as the form stands now."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self.widget = ipw.HTML()

    def refresh(self) -> None:
        """Draw it anew; what doesn't fit its type leaves the last drawing."""
        config = self._draft.config()
        if config is not None:
            self.widget.value = times_plot(config.times, *self._draft.latent_size(config))
