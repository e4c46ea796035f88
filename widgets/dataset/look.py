"""The pictures of a form as they were last looked at, for all that shows them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from core.config.lora import LoraConfig
from core.dataset.batches import Plan
from core.dataset.manifest import Manifest
from core.dataset.survey import Survey, look_through
from core.errors import OchreError, Problem, SettingsError
from core.training.planning import batch_plan
from widgets.background import Tell

Validate = Callable[[dict[str, Any]], tuple[LoraConfig | None, list[Problem]]]
_OURS = ("concepts", "buckets")


@dataclass(frozen=True)
class Looked:
    """What was found, with these settings."""

    config: LoraConfig
    survey: Survey


class Look:
    """Looks at the pictures that a form's data name.

    data: gives the form's data. validate: checks them.
    """

    def __init__(self, data: Callable[[], dict[str, Any]], validate: Validate) -> None:
        self._data, self._validate = data, validate
        self._lock = threading.RLock()
        self._of: Mapping[str, Any] | None = None
        self._looked: Looked | None = None

    def again(self, tell: Tell = lambda done, total: None) -> Looked:
        """Look, and keep what was found. SettingsError for settings of the pictures that are wrong."""
        with self._lock:
            data = self._data()
            self._looked = None
            config, problems = self._validate(data)
            own = [problem for problem in problems if problem.path.split(".")[0] in _OURS]
            if config is None or own:
                raise SettingsError(own or problems)
            self._of, self._looked = _ours(data), Looked(config, look_through(config.concepts, config.buckets, tell))
            return self._looked

    def latest(self, tell: Tell = lambda done, total: None) -> Looked:
        """What was found last; looked at again where the settings have changed since."""
        with self._lock:
            if self._looked is None or self._of != _ours(self._data()):
                return self.again(tell)
            return self._looked

    def plan(self) -> Plan:
        """The order in which the pictures would be shown. OchreError where there can be none."""
        found = self.latest()
        if found.survey.problems:
            raise OchreError("The pictures can't be used as they are.", "\n".join(found.survey.problems))
        config = self._validate(self._data())[0] or found.config
        return batch_plan(config, Manifest(tuple(found.survey.entries), found.survey.lines))


def _ours(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: deepcopy(data[name]) for name in _OURS}
