"""The base class of optimizers: how the weights are changed at each step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from core.contracts import Part
from core.errors import Problem
from core.settings.setting import Settings

if TYPE_CHECKING:
    from torch.optim import Optimizer


@dataclass(frozen=True)
class Availability:
    """Whether a plug-in works on this machine.

    reason: in the user's words, why it doesn't.
    instead: the name of a plug-in that does the same job and works here.
    """

    works: bool
    reason: str = ""
    instead: str = ""


@dataclass(frozen=True)
class Finding:
    """One line of a self-test, in the user's words. passed: whether it is as it should be."""

    text: str
    passed: bool = True


class OptimizerConfig(Settings):
    """How the weights are changed at each step."""

    label: ClassVar[str]
    programs_call_it: ClassVar[tuple[str, ...]] = ()
    """What kohya, OneTrainer and others call it, for the search box and the import of their files."""
    state_bytes_per_weight: ClassVar[float] = 8.0
    """Memory for its state with the default settings, in bytes for each trained weight of a large matrix in fp32."""
    native: ClassVar[bool] = False
    """Whether it runs compiled code of a library, which may be installed and still not work: `self_test` tells."""
    needs_gpu: ClassVar[bool] = False
    schedule_free: ClassVar[bool] = False
    """Whether the weights that it trains are not those that it finds: the optimizer has `train()` and `eval()`."""
    fused_backward: ClassVar[bool] = False
    """Whether a weight may be stepped alone, as soon as its gradient is there: weights share no state."""
    sensible_rates: ClassVar[tuple[float, float]] = (0.0, 0.5)
    usual_rate: ClassVar[float] = 1e-4

    name: str

    @classmethod
    def availability(cls, device: str) -> Availability:
        """Whether it can be used on `device` (torch's "cuda", "cpu", ...). Cheap: nothing foreign is imported."""
        return Availability(True)

    @classmethod
    def library_findings(cls, device: str) -> list[Finding]:
        """Whether its library's compiled code fits `device`. Imports the library; may raise what that raises."""
        return []

    @classmethod
    def like(cls) -> OptimizerConfig | None:
        """One that takes the same steps with fp32 state, to compare with in a self-test; None if there is none."""
        return None

    def state_bytes(self) -> float:
        """Memory for its state with these settings, in bytes for each trained weight of a large matrix in fp32."""
        return self.state_bytes_per_weight

    def keeps_own_rate(self) -> bool:
        """Whether it takes no notice of learning rates and schedule."""
        return False

    def averages_weights(self) -> bool:
        """Whether it has `train()` and `eval()` with these settings, and wants a constant rate; see `schedule_free`."""
        return self.schedule_free

    def needs_one_rate(self) -> bool:
        """Whether all groups must have the same rate (or 0), as it finds one factor for all of them."""
        return False

    def effective_rate(self, optimizer: Optimizer, group: Mapping[str, Any]) -> float:
        """The rate that a group of `optimizer` had at its last step, with all that the optimizer adds to it."""
        return float(group["lr"])

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
