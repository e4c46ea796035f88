"""The panel of LoRA_Trainer.ipynb: from a base model and a folder of pictures to a LoRA."""

from __future__ import annotations

from typing import ClassVar

import ipywidgets as ipw

from widgets.panel import Panel
from widgets.panels.lora_trainer.base_step import BaseStep
from widgets.panels.lora_trainer.check_step import CheckStep
from widgets.panels.lora_trainer.draft import Draft
from widgets.panels.lora_trainer.pictures_step import PicturesStep
from widgets.panels.lora_trainer.profiles_step import ProfilesStep
from widgets.panels.lora_trainer.results_step import ResultsStep
from widgets.panels.lora_trainer.settings_step import SettingsStep
from widgets.panels.lora_trainer.train_step import TrainStep


class LoraTrainer(Panel):
    """One method for each cell of the notebook."""

    name: ClassVar[str] = "lora_trainer"

    def __init__(self) -> None:
        super().__init__()
        self.draft = Draft()
        self._base = BaseStep(self.draft)
        self._pictures = PicturesStep(self.draft)
        self._profiles = ProfilesStep(self.draft)
        self._settings = SettingsStep(self.draft)
        self._check = CheckStep(self.draft)
        self._train = TrainStep(self.draft)
        self._results = ResultsStep()

    def base(self) -> ipw.Widget:
        """Choose the model that training starts from."""
        return self.dress(*self._base.show())

    def pictures(self) -> ipw.Widget:
        """Choose the pictures."""
        return self.dress(*self._pictures.show())

    def profiles(self) -> ipw.Widget:
        """Choose ready-made settings."""
        return self.dress(*self._profiles.show())

    def settings(self) -> ipw.Widget:
        """Look at every setting, and change what you like."""
        return self.dress(*self._settings.show())

    def check(self) -> ipw.Widget:
        """Every problem, and what the run will do."""
        return self.dress(*self._check.show())

    def train(self) -> ipw.Widget:
        """Start the run, or go on watching the one that is going on."""
        return self.dress(*self._train.show())

    async def finished(self) -> None:
        """Wait for the run's end. Meanwhile buttons work and the curve moves.

        Raises RunError if the run didn't start, failed, or was killed.
        """
        await self._train.finished()

    def results(self) -> ipw.Widget:
        """The LoRA: where it is, what it learned, how to use it."""
        return self.dress(*self._results.show(self._train.job))
