"""Any optimizer that can be imported, by its class's path."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import MachineError, Problem, TrainingError
from core.optimizers._zero_rates import leaving_out_zero_rates
from core.settings import setting
from core.settings.bases import OptimizerConfig
from core.settings.importable import ArgumentError, class_problems, import_class, parse_arguments

if TYPE_CHECKING:
    from torch.optim import Optimizer

_BASE = "torch.optim.Optimizer"
_TRIAL_RATE = 1e-3


class Custom(OptimizerConfig):
    """Any installed class that inherits from torch's Optimizer. To import it runs its code: take what you trust.

    Before the start, its arguments are held against its signature, and it takes two steps with four weights.
    """

    label: ClassVar[str] = "Custom class"
    programs_call_it: ClassVar[tuple[str, ...]] = ("package.module.Class",)
    sensible_rates: ClassVar[tuple[float, float]] = (0.0, 1e6)

    name: Literal["custom"] = "custom"
    class_path: str = setting(
        "torch.optim.NAdam",
        "Class",
        "Import path of the class. Its package must be installed here.",
        also=("optimizer_type",),
        choices=("torch.optim.Adamax", "torch.optim.ASGD", "torch.optim.NAdam", "torch.optim.RAdam"),
    )
    arguments: list[str] = setting(
        [],
        "Arguments",
        "One `key = value` a line, such as `betas = (0.9, 0.99)`. The rates are set with the parts.",
        kind="text",
        also=("optimizer_args",),
    )

    def check(self) -> Iterator[Problem]:
        problems = list(class_problems(self.class_path, self.arguments, _BASE, ["params"], by_name=["lr"]))
        yield from problems
        if not problems:
            yield from self._tried()

    def _tried(self) -> Iterator[Problem]:
        step = inspect.signature(import_class(self.class_path, _BASE).step)  # type: ignore[attr-defined]
        if any(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in list(step.parameters.values())[1:]):
            message = "needs the loss computed again within a step, which Ochre's loop doesn't do; choose another class"
            yield Problem("class_path", message)
            return
        try:
            self._state_of_two_steps(1)
        except TrainingError as error:
            yield Problem("arguments", str(error))
        except Exception as error:  # a foreign class raises whatever it likes
            yield Problem("class_path", f"fails at its first steps: {type(error).__name__}: {error}")

    def averages_weights(self) -> bool:
        try:
            cls = import_class(self.class_path, _BASE)
        except MachineError:
            return False
        return hasattr(cls, "train") and hasattr(cls, "eval")

    def state_bytes(self) -> float:
        """As measured; what the class couldn't be asked for is AdamW's."""
        from core.optimizers._trial import state_bytes

        try:
            return round(state_bytes(self._state_of_two_steps(128)), 2)
        except Exception:  # a foreign class raises whatever it likes; `check` tells of it
            return self.state_bytes_per_weight

    def _state_of_two_steps(self, size: int) -> Optimizer:
        import torch

        weights = torch.nn.Parameter(torch.ones(size, 4 if size == 1 else size))
        optimizer = self.build([{"params": [weights], "lr": _TRIAL_RATE}])
        for _ in range(2):
            weights.grad = torch.full_like(weights, 0.5)
            optimizer.step()
        return optimizer

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        cls, name = import_class(self.class_path, _BASE), self.class_path.rpartition(".")[2]
        rates = {"lr": max(group["lr"] for group in groups)} if "lr" in inspect.signature(cls).parameters else {}
        try:
            optimizer: Any = leaving_out_zero_rates(cls)(groups, **rates, **parse_arguments(self.arguments))
            if self.averages_weights():
                optimizer.train()
            return optimizer
        except ArgumentError as error:
            raise TrainingError(f"{name} can't be used.", f"{error}.") from error
        except Exception as error:  # a foreign class raises whatever it likes
            raise TrainingError(
                f"{name} can't be used with these arguments.", f"{type(error).__name__}: {error}"
            ) from error
