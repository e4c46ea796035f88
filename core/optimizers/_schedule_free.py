"""What schedule-free optimizers have in common: two sets of weights, one to take gradients at, one to use.

The Road Less Scheduled, Defazio et al. 2024. y (where gradients are taken) lies between z (which steps like a plain
optimizer) and x (the average of all z, which is used): y = (1 - beta1) z + beta1 x. Only y and z are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from core.errors import Problem
from core.optimizers._library import LibraryOptimizer
from core.optimizers._zero_rates import named_as
from core.settings import setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor
    from torch.optim import Optimizer


class ScheduleFree(LibraryOptimizer):
    """An optimizer of the library schedulefree."""

    library: ClassVar[str] = "schedulefree"
    module: ClassVar[str] = "schedulefree"
    schedule_free: ClassVar[bool] = True
    fused_backward: ClassVar[bool] = True

    def effective_rate(self, optimizer: Optimizer, group: Mapping[str, Any]) -> float:
        """With the library's own warm-up or rectification; that of the coming step before the first."""
        return float(group["scheduled_lr"] if group["k"] and group["lr"] else group["lr"])


def own_warmup() -> Any:
    """The setting of the library's own warm-up."""
    return setting(
        0,
        "Warm-up",
        "The rate grows over so many steps. As good as a warm-up of the schedule, which has the better choice.",
        ge=0,
        unit="steps",
        level="advanced",
    )


def averaging_power() -> Any:
    """The setting of how much late steps count."""
    return setting(
        0.0,
        "Averaging power",
        "Later steps count more in the average, by this power of their number; 0 counts all alike.",
        ge=0,
        level="advanced",
        also=("r",),
    )


def weight_lr_power() -> Any:
    """The setting of how much steps of a small rate count."""
    return setting(
        2.0,
        "Weight by rate",
        "During a warm-up, steps count in the average by this power of the largest rate so far; 0 counts all alike.",
        ge=0,
        level="advanced",
    )


def check_interpolation(name: str, value: float) -> Iterator[Problem]:
    """The weights to use can't be told from those trained if none of them goes in."""
    if not 0 < value < 1:
        yield Problem(name, f"must be greater than 0 and less than 1 for averaging (it is {value:g})")


@cache
def keeping_weights(cls: Any) -> Any:
    """A class that is `cls`, but whose weights come back from `eval()` bit for bit.

    The library computes y from x again, whose last digits then differ: to save, or to draw a sample, would change what
    is trained. Here y is kept meanwhile. Weights in bf16 may have their z in fp32.
    """

    class Keeping(cls):
        _kept: list[Tensor] | None = None

        def eval(self) -> None:
            if self._kept is None:
                self._kept = [parameter.detach().clone() for parameter in self._all()]
                self._in_fp32(super().eval)

        def train(self) -> None:
            if self._kept is None:
                self._in_fp32(super().train)
                return
            for parameter, weights in zip(self._all(), self._kept, strict=True):
                parameter.data = weights
            for group in self.param_groups:
                group["train_mode"] = True
            self._kept = None

        def _all(self) -> list[Tensor]:
            return [parameter for group in self.param_groups for parameter in group["params"]]

        def _in_fp32(self, change: Callable[[], Any]) -> None:
            """Let the library mix weights and z, which must have one dtype for it."""
            dtypes = [parameter.dtype for parameter in self._all()]
            own = {parameter: state["z"] for parameter, state in self.state.items() if "z" in state}
            for parameter in self._all():
                parameter.data = parameter.data.float()
            for parameter, z in own.items():
                self.state[parameter]["z"] = z.float()
            change()
            for parameter, dtype in zip(self._all(), dtypes, strict=True):
                parameter.data = parameter.data.to(dtype)
            for parameter, z in own.items():
                self.state[parameter]["z"] = z

    return named_as(Keeping, cls)
