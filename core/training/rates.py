"""The learning rate of each optimizer group at each step, and the parts that stop before the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.config.lora import LoraConfig
from core.contracts import Part
from core.settings.bases.schedule import RunLength
from core.settings.duration import steps_of


def stop_of(text: str, epoch_ends: Sequence[int]) -> int | None:
    """The step (from 0) that a part doesn't take any more; None if it trains to the end.

    text: such as `500 steps` or `5 epochs`. epoch_ends: the step after which each epoch ends.
    """
    number, unit = steps_of(text)
    if unit == "epochs":
        return epoch_ends[number - 1] if number <= len(epoch_ends) else None
    return number or None


class Rates:
    """Sets the rates of a step: those of the groups, as the schedule changes them.

    A part that has stopped is frozen: its weights take no gradients, and its rate is told as 0.
    """

    def __init__(self, config: LoraConfig, optimizer: Any, length: RunLength, epoch_ends: Sequence[int]) -> None:
        self._optimizer, self._schedule, self._length = optimizer, config.schedule, length
        self._settings = config.optimizer
        self._full = [group["lr"] for group in optimizer.param_groups]
        texts = {part: getattr(config.parts, part).stop_after for part in config.parts.trained()}
        texts |= {group["part"]: group["stop_after"] for group in optimizer.param_groups if "stop_after" in group}
        self._stops: dict[Part, int | None] = {part: stop_of(text, epoch_ends) for part, text in texts.items()}

    def set(self, step: int) -> dict[str, float]:
        """Give the optimizer the rates of a step (from 0); group -> rate."""
        for group, rate in zip(self._optimizer.param_groups, self._full, strict=True):
            if rate is not None:  # Adafactor's own rate
                group["lr"] = self._schedule.rate(rate, step, self._length)
            if self.has_stopped(group.get("part", ""), step):
                freeze(group)
        return {group["name"]: self._told(group, step) for group in self._optimizer.param_groups}

    def taken(self) -> dict[str, float]:
        """The rates as the optimizer took them at its last step, of the groups where it adds something to theirs."""
        groups = [g for g in self._optimizer.param_groups if any(p.requires_grad for p in g["params"])]
        rates = {group["name"]: self._settings.effective_rate(self._optimizer, group) for group in groups}
        return {group["name"]: rates[group["name"]] for group in groups if rates[group["name"]] != group["lr"]}

    def has_stopped(self, part: Part, step: int) -> bool:
        """Whether a part doesn't take a step (from 0) any more."""
        stop = self._stops.get(part)
        return stop is not None and step >= stop

    def _told(self, group: dict[str, Any], step: int) -> float:
        return 0.0 if self.has_stopped(group.get("part", ""), step) else group["lr"] or 0.0


def freeze(group: dict[str, Any]) -> None:
    """Take no gradients of a group's weights any more."""
    for parameter in group["params"]:
        parameter.requires_grad_(False)
