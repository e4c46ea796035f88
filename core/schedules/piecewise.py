"""The rate goes down, or up, in stairs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import ClassVar, Literal

from core.errors import Problem
from core.settings import setting
from core.settings.bases import ScheduleConfig
from core.settings.bases.schedule import RunLength


class RulesError(ValueError):
    """A text that gives no stairs; the message is in the user's words."""


class Piecewise(ScheduleConfig):
    """Multiplies the rate with a number that changes at the given steps.

    diffusers' `piecewise_constant` and its `step_rules`; steps as a percentage of the run are ours.
    """

    label: ClassVar[str] = "Piecewise constant"
    programs_call_it: ClassVar[tuple[str, ...]] = ("piecewise_constant",)

    name: Literal["piecewise"] = "piecewise"
    rules: str = setting(
        "1:50%, 0.5:75%, 0.1",
        "Rules",
        "Factor and the step up to which it holds, with commas between; the last factor holds to the end. "
        "`1:100, 0.5:200, 0.1` counts steps, `1:50%, 0.1` shares of the run. A warm-up counts in.",
        also=("step_rules", "lr_scheduler_args"),
    )

    def check(self) -> Iterator[Problem]:
        yield from super().check()
        try:
            stairs(self.rules)
        except RulesError as error:
            yield Problem("rules", str(error))

    def check_length(self, length: RunLength) -> Iterator[Problem]:
        yield from super().check_length(length)
        ends = [end for _, end in _ends(self.rules, length.steps)]
        if any(end >= length.steps for end in ends):
            message = f"step {round(max(ends))} is not before the end of the run, which has {length.steps} steps"
            yield Problem("rules", f"{message}; give the steps in percent, or train longer")
        elif sorted(set(ends)) != ends:
            yield Problem("rules", f"of the run's {length.steps} steps some are named before earlier ones, or twice")

    def after_warmup(self, step: int, total: int, warmup: int) -> float:
        at = step + warmup
        return next((factor for factor, end in _ends(self.rules, total + warmup) if at < end), stairs(self.rules)[1])


def _ends(rules: str, total: int) -> list[tuple[float, float]]:
    """(factor, the step before which it holds) in a run of `total` steps."""
    return [(factor, round(end * total) if share else end) for factor, end, share in stairs(rules)[0]]


@lru_cache(maxsize=64)
def stairs(rules: str) -> tuple[tuple[tuple[float, float, bool], ...], float]:
    """((factor, end, whether the end is a share of the run), ...) and the last factor, of `1:100, 0.5:75%, 0.1`.

    RulesError if it is no such text.
    """
    *steps, last = (rule.strip() for rule in rules.split(","))
    found = []
    for rule in steps:
        factor, colon, end = (piece.strip() for piece in rule.partition(":"))
        if not colon:
            raise RulesError(f"{rule or 'nothing'!r} has no step; write it as factor:step, such as 0.5:200 or 0.5:75%")
        share = end.endswith("%")
        number = _number(end.removesuffix("%"), "a step")
        if not share and (number != int(number) or number < 1):
            raise RulesError(f"{end} is no step; steps are whole numbers from 1 on, and shares end in %")
        if share and not 0 < number < 100:
            raise RulesError(f"{end} is not within the run; shares lie between 0 % and 100 %")
        found.append((_number(factor, "a factor"), number / 100 if share else number, share))
    for kind in (True, False):
        ends = [end for _, end, share in found if share is kind]
        if sorted(set(ends)) != ends:
            raise RulesError("the steps must rise from rule to rule")
    if ":" in last:
        raise RulesError(f"the last rule is a factor alone, which holds to the end; {last!r} has a step")
    return tuple(found), _number(last, "a factor")


def _number(text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise RulesError(f"{text.strip() or 'nothing'!r} is not {what}; it must be a number from 0 on")
    return number
