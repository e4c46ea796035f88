"""Any schedule that can be imported."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import ClassVar, Literal

from core.errors import MachineError, Problem, TrainingError
from core.settings import setting
from core.settings.bases import ScheduleConfig
from core.settings.bases.schedule import RunLength
from core.settings.importable import class_problems, import_class, parse_arguments

_BASE = "torch.optim.lr_scheduler.LRScheduler"
_SHORTEST = RunLength(1, 1, 1)


class Custom(ScheduleConfig):
    """Any class that inherits from torch's LRScheduler, stepped once after each training step.

    The class is run through in advance, on an optimizer that holds nothing but the rate; what it gave counts, so that
    the rate is a function of the step alone. As OneTrainer does, the warm-up comes before it.
    """

    label: ClassVar[str] = "Custom class"
    programs_call_it: ClassVar[tuple[str, ...]] = ("lr_scheduler_type", "CUSTOM")

    name: Literal["custom"] = "custom"
    class_path: str = setting(
        "torch.optim.lr_scheduler.CosineAnnealingLR",
        "Class",
        "Import path of the class. Its package must be installed here.",
        also=("lr_scheduler_type", "custom_learning_rate_scheduler"),
        choices=(
            "torch.optim.lr_scheduler.CosineAnnealingLR",
            "torch.optim.lr_scheduler.CosineAnnealingWarmRestarts",
            "torch.optim.lr_scheduler.CyclicLR",
            "torch.optim.lr_scheduler.ExponentialLR",
            "torch.optim.lr_scheduler.MultiStepLR",
            "torch.optim.lr_scheduler.OneCycleLR",
            "torch.optim.lr_scheduler.StepLR",
        ),
    )
    arguments: list[str] = setting(
        ["T_max = %SCHEDULER_STEPS%"],
        "Arguments",
        "One `key = value` a line. `%LR%` is the group's rate, `%TOTAL_STEPS%` and `%EPOCHS%` are the run's, "
        "`%STEPS_PER_EPOCH%` an epoch's, `%SCHEDULER_STEPS%` those after the warm-up.",
        kind="text",
        also=("lr_scheduler_args", "scheduler_params"),
    )

    def check(self) -> Iterator[Problem]:
        yield from super().check()
        problems = list(
            class_problems(self.class_path, self.arguments, _BASE, ["optimizer"], _known(1.0, _SHORTEST, 0))
        )
        yield from problems
        if not problems and _needs_measure(self.class_path):
            message = "needs the loss at each step, and Ochre's schedules are functions of the step alone"
            yield Problem("class_path", f"{message}; choose another class")

    def check_length(self, length: RunLength) -> Iterator[Problem]:
        yield from super().check_length(length)
        try:
            rates = self._curve(1.0, length)
        except (MachineError, TrainingError) as error:
            yield Problem("arguments", str(error))
            return
        wrong = next((step for step, rate in enumerate(rates) if not 0 <= rate < math.inf), None)
        if wrong is not None:
            yield Problem("arguments", f"give a rate of {rates[wrong]:g} at step {wrong}; a rate is 0 or more")

    def rate(self, rate: float, step: int, length: RunLength) -> float:
        warmup = self.warmup(length.steps)
        if step < warmup:
            return rate * (step + 1) / (warmup + 1)
        curve = self._curve(rate, length)
        return curve[min(step - warmup, len(curve) - 1)]

    def factor(self, step: int, total: int) -> float:
        return self.rate(1.0, step, RunLength(total, 1, total))

    def _curve(self, rate: float, length: RunLength) -> tuple[float, ...]:
        return _run_through(self.class_path, tuple(self.arguments), rate, length, self.warmup(length.steps))


def _known(rate: float, length: RunLength, warmup: int) -> Mapping[str, float]:
    """What stands for the placeholders; their names are OneTrainer's."""
    return {
        "LR": rate,
        "EPOCHS": length.epochs,
        "STEPS_PER_EPOCH": length.steps_per_epoch,
        "TOTAL_STEPS": length.steps,
        "SCHEDULER_STEPS": max(1, length.steps - warmup),
    }


def _needs_measure(path: str) -> bool:
    """Whether the class's `step` can't be called alone, as that of ReduceLROnPlateau."""
    step = inspect.signature(import_class(path, _BASE).step)  # type: ignore[attr-defined]
    return any(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in list(step.parameters.values())[1:])


@lru_cache(maxsize=1024)  # one for each rate of a run
def _run_through(path: str, lines: tuple[str, ...], rate: float, length: RunLength, warmup: int) -> tuple[float, ...]:
    """The rate at each step after the warm-up. MachineError for no such class; TrainingError if the class fails."""
    import torch

    cls, name = import_class(path, _BASE), path.rpartition(".")[2]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=rate)
    rates: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch warns that the optimizer was never stepped
        try:
            schedule = cls(optimizer, **parse_arguments(lines, _known(rate, length, warmup)))
            for step in range(max(1, length.steps - warmup)):
                if step:
                    schedule.step()
                rates.append(float(optimizer.param_groups[0]["lr"]))
        except Exception as error:  # a foreign class raises whatever it likes
            what = f"{name} can't be used with these arguments." if not rates else f"{name} fails at step {len(rates)}."
            raise TrainingError(what, f"{type(error).__name__}: {error}") from error
    if optimizer.param_groups[0]["momentum"]:
        do = "Add a line cycle_momentum = False."
        raise TrainingError(f"{name} changes the momentum, too, which Ochre's schedules leave alone.", do=do)
    return tuple(rates)
