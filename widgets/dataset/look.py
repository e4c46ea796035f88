"""The pictures of a form as they were last looked at, for all that shows them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any

from core.config.lora import LoraConfig
from core.dataset.batches import Plan
from core.dataset.found import Survey
from core.dataset.manifest import Manifest
from core.dataset.report import DatasetReport
from core.dataset.survey import look_through
from core.errors import OchreError, Problem, SettingsError
from core.settings.bases.schedule import RunLength
from core.training.dataset_report import clip_token_counter, report_of
from core.training.planning import batch_plan, run_length
from widgets.background import Tell

Validate = Callable[[dict[str, Any]], tuple[LoraConfig | None, list[Problem]]]
_OURS = ("concepts", "buckets", "memory", "base", "training")
"""Tables that the report depends on."""
_OF_PICTURES = ("concepts", "buckets")
"""Those whose problems stand in its way."""

_counter = cache(clip_token_counter)


@dataclass(frozen=True)
class Looked:
    """What was found. report: with the tokens of captions, if they were counted."""

    config: LoraConfig
    survey: Survey
    report: DatasetReport
    tokens: bool


class Look:
    """Looks at the pictures that a form's data name. Any number of threads may ask.

    data: gives the form's data. validate: checks them.
    """

    def __init__(self, data: Callable[[], dict[str, Any]], validate: Validate) -> None:
        self._data, self._validate = data, validate
        self._lock = threading.RLock()
        self._of: Mapping[str, Any] | None = None
        self._looked: Looked | None = None

    def again(self, tell: Tell = lambda done, total: None, tokens: bool = True) -> Looked:
        """Look, and keep what was found. SettingsError for settings of the pictures that are wrong.

        tokens: count those of the captions, too; the first time that takes two seconds, and loads transformers.
        """
        with self._lock:
            self._looked = None
            data = self._data()
            config = self._config(data)
            found = look_through(config.concepts, config.buckets, tell)
            report = report_of(config, found, _counter() if tokens else None)
            self._of, self._looked = _ours(data), Looked(config, found, report, tokens)
            return self._looked

    def latest(self, tokens: bool = True) -> Looked:
        """What was found last; looked at again where settings have changed since."""
        with self._lock:
            looked = self._looked
            if looked is None or self._of != _ours(self._data()):
                return self.again(tokens=tokens)
            if tokens and not looked.tokens:
                report = report_of(looked.config, looked.survey, _counter())
                looked = self._looked = Looked(looked.config, looked.survey, report, True)
            return looked

    def plan(self) -> Plan:
        """The order in which the pictures would be shown. OchreError where there can be none."""
        found = self.latest(tokens=False)
        if found.survey.problems:
            raise OchreError("The pictures can't be used as they are.", "\n".join(found.survey.problems))
        return batch_plan(found.config, Manifest(tuple(found.survey.entries), found.survey.lines))

    def length(self, config: LoraConfig) -> RunLength | None:
        """How long a run of this config would be; None while that isn't known, or there could be none.

        It asks for nothing that takes long: the pictures must have been looked at with the concepts as they are.
        """
        if not self._lock.acquire(blocking=False):  # they are being looked at
            return None
        try:
            data, looked = self._data(), self._looked
            if not looked or not self._of or any(self._of[name] != data[name] for name in _OF_PICTURES):
                return None
            return _length(config, looked.survey)
        finally:
            self._lock.release()

    def _config(self, data: dict[str, Any]) -> LoraConfig:
        config, problems = self._validate(data)
        own = [problem for problem in problems if problem.path.split(".")[0] in _OF_PICTURES]
        if config is None or own:
            raise SettingsError(own or problems)
        return config


def _length(config: LoraConfig, found: Survey) -> RunLength | None:
    if found.problems or not found.entries:
        return None
    try:
        return run_length(config, batch_plan(config, Manifest(tuple(found.entries), found.lines)))
    except OchreError:  # no step would be taken; the report and the check say so
        return None


def _ours(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: deepcopy(data[name]) for name in _OURS}
