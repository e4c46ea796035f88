"""The average of the trained weights over the latest steps (EMA): kept, shown, and put in place of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from core.config.sections.ema import PLAIN
from core.errors import WorkspaceError

if TYPE_CHECKING:
    from core.config.sections.ema import Ema as EmaSettings
    from core.config.sections.ema import Which

CHUNK = 2**24
"""Weights that are brought to the computer's memory at once."""


class Ema:
    """The average of some weights, fp32: after each update `average = decay * average + (1 - decay) * weights`.

    With warm-up the decay of the n-th update (from 0) is `min((1 + n) / (10 + n), decay)`, and 0 for the first, as in
    diffusers' EMAModel: the average begins as the weights of that update. Without, it begins as the first weights.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], settings: EmaSettings) -> None:
        self._parameters, self._settings = list(parameters), settings
        self._updates, self.last_decay = 0, 0.0  # the decay of the latest update
        self._average = [self._home(parameter.detach()).clone() for parameter in self._parameters]

    def _home(self, weights: Tensor) -> Tensor:
        return weights.to("cpu" if self._settings.where == "cpu" else weights.device, torch.float32)

    @property
    def decay(self) -> float:
        """The decay of the next update."""
        n = self._updates
        if not self._settings.warmup:
            return self._settings.decay
        return min((1 + n) / (10 + n), self._settings.decay) if n else 0.0

    def after_step(self, step: int) -> None:
        """Take in the weights, if that is due after a step (from 1)."""
        if step % self._settings.update_every:
            return
        self.last_decay = self.decay
        share = 1 - self.last_decay
        with torch.no_grad():
            if self._settings.where == "cpu":
                self._update_in_chunks(share)
            else:
                weights = [parameter.detach().float() for parameter in self._parameters]
                torch._foreach_lerp_(self._average, weights, share)
        self._updates += 1

    def _update_in_chunks(self, share: float) -> None:
        """Weights are brought over many at once: each time the device is waited for."""
        for chunk in _chunks(self._average, CHUNK):
            flat = torch.cat([self._parameters[i].detach().float().flatten() for i in chunk]).cpu()
            pieces = flat.split([self._average[i].numel() for i in chunk])
            for index, piece in zip(chunk, pieces, strict=True):
                self._average[index].lerp_(piece.view_as(self._average[index]), share)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Inside, the model has the average in place of its weights; afterwards the very weights of before."""
        plain = [parameter.data for parameter in self._parameters]
        for parameter, average in zip(self._parameters, self._average, strict=True):
            parameter.data = average.to(parameter.device, parameter.dtype)
        try:
            yield
        finally:
            for parameter, weights in zip(self._parameters, plain, strict=True):
                parameter.data = weights

    def state(self) -> dict[str, Any]:
        """What is needed to go on exactly."""
        return {"updates": self._updates, "average": [average.cpu() for average in self._average]}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave. WorkspaceError if it is of other weights."""
        kept: list[Tensor] = state["average"]
        if [one.shape for one in kept] != [one.shape for one in self._average]:
            raise WorkspaceError("The backup's average of the weights (EMA) is of another network.")
        for average, one in zip(self._average, kept, strict=True):
            average.copy_(one)
        self._updates = state["updates"]


def _chunks(tensors: Sequence[Tensor], size: int) -> Iterator[list[int]]:
    """Places of tensors that follow each other, with about so many numbers together, or one alone that has more."""
    chunk: list[int] = []
    total = 0
    for index, tensor in enumerate(tensors):
        if chunk and total + tensor.numel() > size:
            yield chunk
            chunk, total = [], 0
        chunk.append(index)
        total += tensor.numel()
    if chunk:
        yield chunk


def weights_of(ema: Ema | None, which: Which) -> list[tuple[str, AbstractContextManager[None]]]:
    """The weights that are to be shown or saved, the main ones first.

    For each what is put after the name of what comes of it ("" for the main ones), and a context inside which the model
    has these weights.
    """
    if ema is None or which == "plain":
        return [("", nullcontext())]
    average: list[tuple[str, AbstractContextManager[None]]] = [("", ema.swapped_in())]
    return [*average, (PLAIN, nullcontext())] if which == "both" else average
