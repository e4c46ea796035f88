"""The sizes and the batch of a kohya dataset config: several datasets' become those of one run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from core.dataset import held_out
from core.dataset.kohya.keys import DATASET_KEYS, Key
from core.dataset.kohya.values import Account, Value, shown
from core.dataset.settings import Buckets, Concept
from core.settings.checks import validate

Values = Mapping[str, Value]

_BUCKETS = "buckets."


class Sizes:
    """What a run has once for all of its datasets.

    settings: setting path -> value. resolutions: of each dataset, as Ochre writes them; empty where none is given.
    The run's resolution is that of the first dataset which has one.
    """

    def __init__(self, account: Account, datasets: Sequence[Values]) -> None:
        self._account, self._datasets = account, datasets
        self._bucketed = [values for values in datasets if values["enable_bucket"].value]
        self._places: dict[str, str] = {}
        self.settings: dict[str, Any] = {"buckets.aspect_ratio_bucketing": bool(self._bucketed)}
        for key in DATASET_KEYS:
            if key.choose:
                self._choose(key)
        if not self.settings["validation.share"]:
            del self.settings["validation.share"]
        for values in datasets:
            account.use(values["enable_bucket"].place)
            account.use(values["resolution"].place)
        self.resolutions = [self._resolution(values) for values in datasets]
        self.run = next(filter(None, self.resolutions), "")
        if self.run:
            first = self.resolutions.index(self.run)
            self.settings = {"buckets.resolution": self.run} | self.settings
            self._places["resolution"] = datasets[first]["resolution"].place
        self._check()

    def own_resolution(self, dataset: int) -> str:
        """The resolution that the concepts of a dataset need for their own; empty where the run's is theirs."""
        return "" if self.resolutions[dataset] == self.run else self.resolutions[dataset]

    def place(self, dataset: int) -> str:
        """Where the resolution of a dataset stands."""
        return self._datasets[dataset]["resolution"].place

    def check(self, concept: Concept, dataset: int) -> None:
        """Account for a concept's own resolution that these buckets can't serve."""
        for problem in self._buckets.problems_of(concept, self.place(dataset)) if concept.resolution else ():
            self._account.problem(problem.path, problem.message)

    def _choose(self, key: Key) -> None:
        """Of several datasets' values the one that the run takes; the others are noted."""
        counting = self._datasets
        if key.ours[0].startswith(_BUCKETS) and self._bucketed:
            counting = self._bucketed
        found = [values[key.name] for values in counting]
        if key.name == "bucket_no_upscale" and not self._bucketed:
            self._choose_nothing(key, found)
            return
        plain = [one.value for one in found]
        chosen = {"smallest": min, "largest": max, "first": lambda values: values[0]}[key.choose](plain)
        self.settings[key.ours[0]] = chosen
        for one in found:
            if one.value != chosen:
                given = any(other.place for other in found if other.value == chosen)
                default = "" if given else ", which is kohya's default for a dataset without it"
                text = f"A run has one for all datasets; the {key.choose}, {shown(chosen)}, counts{default}."
                self._account.note(one, text, taken=False)
                continue
            self._account.use(one.place)
            self._places.setdefault(key.ours[0].removeprefix(_BUCKETS), one.place)
            if key.note and one.value != key.default:
                self._account.note(one, key.note)
        for values in self._datasets:
            if values not in counting and values[key.name].place not in self._account.used:
                self._account.note(values[key.name], "This dataset has enable_bucket off.", taken=False)

    def _choose_nothing(self, key: Key, found: Sequence[Value]) -> None:
        self.settings[key.ours[0]] = key.default
        for one in found:
            if one.value == key.default:
                self._account.use(one.place)
            else:
                self._account.note(one, "As with kohya's trainer it counts only with enable_bucket.", taken=False)

    def _resolution(self, values: Values) -> str:
        """A dataset's resolution. Without buckets kohya's trainer brings all pictures to exactly this size."""
        found, bucketed = values["resolution"], values["enable_bucket"].value
        if found.value is None:
            return ""
        width, height = found.value if isinstance(found.value, list) else (found.value, found.value)
        if bucketed:
            return self._area(found, width, height)
        if width == height and not self._bucketed and self._is_bucket(width):
            return str(width)
        sides = tuple(max(8, side // 8 * 8) for side in (width, height))
        exact = f"{sides[0]}x{sides[1]}"
        if sides != (width, height):
            self._account.note(found, f"Sides are multiples of 8: {exact} is taken.")
        if self.settings["buckets.no_upscale"]:
            text = "bucket_no_upscale of another dataset counts here too: smaller pictures are left out."
            self._account.note(found, text)
        return exact

    def _is_bucket(self, side: int) -> bool:
        """Whether a square of this side is what a run without buckets brings its pictures to."""
        bounds = self.settings["buckets.minimum"], self.settings["buckets.maximum"]
        step = self.settings["buckets.step"]
        return step > 0 and side % step == 0 and bounds[0] <= side <= bounds[1]

    def _area(self, found: Value, width: int, height: int) -> str:
        if width == height:
            return str(width)
        side = math.isqrt(width * height - 1) + 1  # rounded up, so that this very size stays a bucket
        self._account.note(
            found,
            f"With buckets it is their area; Ochre takes the side of a square: {side}. Sizes at the very limit of the "
            f"area may differ. For this one size alone write {width}x{height}.",
        )
        return str(side)

    def _check(self) -> None:
        """What these settings can't be is noted as a problem, at the key that it comes from."""
        own = {path.removeprefix(_BUCKETS): value for path, value in self.settings.items() if path.startswith(_BUCKETS)}
        buckets, problems = validate(Buckets, own)
        if self.settings["training.train_batch_size"] < 1:
            self._account.problem(self._places["training.train_batch_size"], "must be at least 1")
        if not 0 <= self.settings.get("validation.share", 0) <= held_out.MOST:
            self._account.problem(self._places["validation.share"], f"must be from 0 to {held_out.MOST}")
        for problem in problems:
            self._account.problem(self._places.get(problem.path) or problem.path, problem.message)
        self._buckets = buckets or Buckets()
