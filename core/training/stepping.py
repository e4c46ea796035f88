"""How gradients become changed weights: all at once after the backward pass, or each as soon as its gradient is there.

Both keep to the same promise: a gradient that is not finite changes no weight.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from core.dataset.draws import key_for


@dataclass(frozen=True)
class Applied:
    """norm: the gradients' norm before clipping. changed: whether the weights took a step. losses: of its samples."""

    norm: float
    changed: bool
    losses: list[float] = field(default_factory=list)


class Stepping(Protocol):
    """What the loop asks of it.

    after_failure: what a gradient that isn't finite left, in the user's words. steps_early: whether weights change
    during the backward pass, so that losses have to be looked at before it.
    """

    after_failure: str
    steps_early: bool

    def begin(self, step: int) -> None:
        """A step (from 0) begins: its backward passes follow."""
        ...

    def finish(self, losses: Sequence[Tensor] = ()) -> Applied:
        """The backward passes are over: let the weights have changed, and forget the gradients.

        losses: of each pass's samples. They are brought over together with the gradients' norm, as each look at the
        device waits for all that it is doing.
        """
        ...

    def evaluating(self) -> Any:
        """A context inside which the weights are those to save, sample and measure."""
        ...


class PlainStep:
    """All weights at once, after the last backward pass.

    max_norm: gradients with a larger norm are scaled down to it, all by the same factor; 0: none are.
    scaler: fp16's, which brings gradients that are too small for fp16 into its range; a gradient that is not finite
    then makes it smaller. rounding: None where no trained weight is bf16.
    """

    after_failure = "The weights were not touched by this step."
    steps_early = False

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        max_norm: float,
        scaler: Any = None,
        rounding: Rounding | None = None,
    ) -> None:
        self._optimizer, self._scaler, self._rounding = optimizer, scaler, rounding
        self._limit = max_norm or math.inf
        self._step = 0

    @property
    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self._optimizer.param_groups for parameter in group["params"]]

    def begin(self, step: int) -> None:
        """Nothing is done before the gradients are there."""
        self._step = step

    def finish(self, losses: Sequence[Tensor] = ()) -> Applied:
        """Clip, and step if every loss and every gradient is finite."""
        if self._scaler is not None:
            self._scaler.unscale_(self._optimizer)
        *told, norm = brought_over([*losses, clip_grad_norm_(self._parameters, self._limit)])
        if finite := all(map(math.isfinite, (*told, norm))):
            with as_fp32(list(enumerate(self._parameters)), self._rounding, self._step):
                self._optimizer.step()
        if self._scaler is not None:
            self._scaler.update()  # a smaller scale after a skipped step
        self._optimizer.zero_grad(set_to_none=True)
        return Applied(norm, finite, told)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Schedule-free optimizers keep two sets of weights: one to take gradients at, one to use."""
        with averaged(self._optimizer):
            yield


class FusedStep:
    """Each weight as soon as its gradient is there, which is then forgotten: never are all gradients in memory.

    For optimizers that share nothing between weights (`OptimizerConfig.fused_backward`), with one backward pass a step,
    without clipping, which would need the norm of them all, and without fp16's scaler. The same numbers as PlainStep.
    A gradient that is not finite is taken for zero, and `finish` tells that the step failed: other weights have then
    taken theirs, so that nothing of this run may be saved any more.
    """

    after_failure = "Some weights had taken this step already: the run can go on from its last backup."
    steps_early = True

    def __init__(self, optimizer: torch.optim.Optimizer, rounding: Rounding | None = None) -> None:
        self._optimizer, self._rounding, self._step = optimizer, rounding, 0
        self._squares: list[Tensor] = []
        self._after: dict[int, dict[str, Any]] = {}
        places = [(place, p) for place, group in enumerate(optimizer.param_groups) for p in group["params"]]
        for number, (place, parameter) in enumerate(places):
            parameter.register_post_accumulate_grad_hook(partial(self._take, number, place))

    def begin(self, step: int) -> None:
        """From here on each gradient is stepped with as it comes."""
        self._step, self._squares, self._after = step, [], {}

    def _take(self, number: int, place: int, parameter: Tensor) -> None:
        """Step with one weight. What the optimizer counts in a group is written back once all have seen it.

        number: of the weight among all. place: of its group.
        """
        assert parameter.grad is not None
        self._squares.append(parameter.grad.detach().float().square().sum())
        torch.nan_to_num_(parameter.grad, nan=0.0, posinf=0.0, neginf=0.0)
        whole = self._optimizer.param_groups
        alone = {**whole[place], "params": [parameter]}
        self._optimizer.param_groups = [alone]
        try:
            with as_fp32([(number, parameter)], self._rounding, self._step):
                self._optimizer.step()
        finally:
            self._optimizer.param_groups = whole
        self._after[place] = {name: value for name, value in alone.items() if name != "params"}
        parameter.grad = None

    def finish(self, losses: Sequence[Tensor] = ()) -> Applied:
        """The norm of all gradients that came."""
        for place, settings in self._after.items():
            self._optimizer.param_groups[place].update(settings)
        *told, square = brought_over([*losses, total_of(self._squares)])
        return Applied(math.sqrt(square), math.isfinite(square), told)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """As PlainStep's."""
        with averaged(self._optimizer):
            yield


def brought_over(tensors: Sequence[Tensor]) -> list[float]:
    """Their numbers, one after the other, with one look at the device."""
    device = _where_most_is(tensors)
    flat = [tensor.detach().float().flatten().to(device, non_blocking=True) for tensor in tensors]
    return torch.cat(flat).tolist()


def total_of(numbers: Sequence[Tensor]) -> Tensor:
    """The sum of single numbers, on the device of the first; 0 if there are none."""
    if not numbers:
        return torch.zeros(())
    device = _where_most_is(numbers)
    return torch.stack([number.to(device, non_blocking=True) for number in numbers]).sum()


def _where_most_is(tensors: Sequence[Tensor]) -> torch.device:
    """A GPU, if one of them is there: only a copy to it may be left to end by itself."""
    return next((tensor.device for tensor in tensors if tensor.device.type != "cpu"), torch.device("cpu"))


@contextmanager
def averaged(optimizer: Any) -> Iterator[None]:
    """Inside, a schedule-free optimizer's weights are the averaged ones; with any other nothing changes."""
    if not hasattr(optimizer, "eval") or not hasattr(optimizer, "train"):
        yield
        return
    optimizer.eval()
    try:
        yield
    finally:
        optimizer.train()


@dataclass(frozen=True)
class Rounding:
    """How fp32 results become bf16 weights.

    stochastic: up or down at random, in proportion to how near the two are, so that the mean is exact. Else to the
    nearest, where steps smaller than half of bf16's spacing are lost (as with kohya's full_bf16).
    """

    seed: int
    stochastic: bool


@contextmanager
def as_fp32(parameters: Sequence[tuple[int, Any]], rounding: Rounding | None, step: int) -> Iterator[None]:
    """Inside, bf16 weights and their gradients are fp32, for an optimizer to work on exactly; then they are rounded.

    parameters: with their numbers among all. The optimizer's state is fp32 then. How a weight is rounded hangs on the
    seed, the step, and its number.
    """
    low = [(n, p) for n, p in parameters if rounding and p.dtype == torch.bfloat16 and p.grad is not None]
    for _, parameter in low:
        gradient, parameter.grad = parameter.grad.float(), None
        parameter.data = parameter.data.float()
        parameter.grad = gradient
    yield
    for number, parameter in low:
        assert rounding
        exact, parameter.grad = parameter.data, None
        if rounding.stochastic:
            generator = torch.Generator(exact.device).manual_seed(key_for(rounding.seed, "rounding", step, number))
            parameter.data = stochastically_rounded(exact, generator)
        else:
            parameter.data = exact.to(torch.bfloat16)


def stochastically_rounded(exact: Tensor, generator: torch.Generator) -> Tensor:
    """bf16 of fp32: of the two nearest, the upper with the probability of how near it is (Gupta et al. 2015, 3.1).

    bf16 is fp32's upper half: random lower bits are added, and the lower half is cut off.
    """
    bits = exact.contiguous().view(torch.int32)
    noise = torch.randint(0, 1 << 16, bits.shape, generator=generator, dtype=torch.int32, device=bits.device)
    return ((bits + noise) & -65536).view(torch.float32).to(torch.bfloat16)
