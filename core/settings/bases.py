"""The base class of each kind of plug-in that a config can choose. A plug-in owns its settings and builds itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from core.contracts import Model, Network, Part
from core.errors import Problem
from core.settings.setting import Settings, setting

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from core.objectives import Objective


@dataclass(frozen=True)
class Availability:
    """Whether a plug-in works on this machine.

    reason: in the user's words, why it doesn't.
    instead: the name of a plug-in that does the same job and works here.
    """

    works: bool
    reason: str = ""
    instead: str = ""


class OptimizerConfig(Settings):
    """How the weights are changed at each step."""

    label: ClassVar[str]
    programs_call_it: ClassVar[tuple[str, ...]] = ()
    state_bytes_per_weight: ClassVar[float] = 8.0
    native: ClassVar[bool] = False
    """Whether it runs compiled code of a library, which may be installed and still not work: `self_test` tells."""
    sensible_rates: ClassVar[tuple[float, float]] = (0.0, 0.5)
    usual_rate: ClassVar[float] = 1e-4

    name: str

    @classmethod
    def availability(cls, device: str) -> Availability:
        """Whether it can be used on `device` (torch's "cuda", "cpu", ...). Cheap: nothing foreign is imported."""
        return Availability(True)

    @classmethod
    def self_test(cls, device: str) -> Availability:
        """Whether it really works on `device`. A broken library can end the process: call it in one of its own."""
        return cls.availability(device)

    def check_rates(self, rates: Mapping[Part, float]) -> Iterator[Problem]:
        """Problems of the parts' learning rates with this optimizer; paths are those of the whole config."""
        least, most = self.sensible_rates
        for part, rate in rates.items():
            if rate and not least <= rate <= most:
                path = f"parts.{part}.learning_rate"
                message = f"is {rate:g}, but {self.label} needs a rate from {least:g} to {most:g}"
                yield Problem(path, f"{message}; {self.usual_rate:g} is usual", {path: self.usual_rate})

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        """The optimizer over `groups` (each with `params` and `lr`)."""
        raise NotImplementedError


class ScheduleConfig(Settings):
    """How the learning rate changes over the run: a pure function of the step."""

    label: ClassVar[str]

    name: str
    warmup_steps: int = setting(
        0,
        "Warm-up steps",
        "Steps during which the rate rises from zero to its full value.",
        ge=0,
        unit="steps",
        also=("lr_warmup_steps",),
    )
    warmup_fraction: float = setting(
        0.0,
        "Warm-up fraction",
        "The same as a fraction of all steps, when the number of steps isn't known yet: 0.05 is the first 5 %.",
        ge=0,
        lt=1,
        also=("lr_warmup_ratio",),
    )

    def check(self) -> Iterator[Problem]:
        if self.warmup_steps and self.warmup_fraction:
            yield Problem("warmup_fraction", "give the warm-up in steps or as a fraction, and leave the other at 0")

    def factor(self, step: int, total: int) -> float:
        """What the learning rates are multiplied with at `step` (from 0) of `total` steps."""
        warmup = self.warmup(total)
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return self.after_warmup(step - warmup, max(1, total - warmup))

    def warmup(self, total: int) -> int:
        """Steps of the warm-up in a run of `total` steps."""
        return self.warmup_steps or round(self.warmup_fraction * total)

    def after_warmup(self, step: int, total: int) -> float:
        """The factor at `step` (from 0) of the `total` steps that follow the warm-up."""
        raise NotImplementedError


class WeightingConfig(Settings):
    """A factor on each sample's loss that depends on its noise level."""

    label: ClassVar[str]

    name: str

    def weights(self, objective: Objective, times: Tensor) -> Tensor:
        """Factors, B, for samples at `times`, B."""
        raise NotImplementedError


class NetworkConfig(Settings):
    """What is trained."""

    label: ClassVar[str]
    loads_in: ClassVar[tuple[str, ...]]

    name: str

    def attach(self, model: Model, parts: Mapping[Part, Mapping[str, str]]) -> Network:
        """Build the trained modules and put them into the model.

        parts: for each part to train, its layer groups (name -> regular expression over module paths).
        """
        raise NotImplementedError


class EngineConfig(Settings):
    """What carries a run out: this process, or a foreign trainer."""

    label: ClassVar[str]

    name: str

    def run(self, config: Any, folder: Any) -> None:
        """Carry out the run of a config in its workspace (a RunFolder), to the end or until it is stopped."""
        raise NotImplementedError
