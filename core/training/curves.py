"""The curves of a run: what is added up for them on the way, and what every program that draws them is given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from core.training.events import Event, Sampled, Step, Validated

if TYPE_CHECKING:
    from core.training.setup import Run

SMOOTHING = 0.98
"""How much of the smoothed loss stays at each step: about the latest 50 count."""

LEVELS = 10
"""Equal parts of the noise levels, whose losses are told apart."""


class Curves:
    """Adds up what a single step's numbers don't show. It is part of a backup, so that curves go on without a break."""

    def __init__(self, every: int) -> None:
        """every: steps from one full record to the next."""
        self._every = every
        self._sum, self._weight = 0.0, 0.0
        self._by_level: defaultdict[int, list[float]] = defaultdict(list)

    def add(self, loss: float, losses: Sequence[float], levels: Sequence[float]) -> None:
        """A step's loss, and those of its samples with their noise levels (0 to 1)."""
        self._sum = SMOOTHING * self._sum + (1 - SMOOTHING) * loss
        self._weight = SMOOTHING * self._weight + (1 - SMOOTHING)
        for one, level in zip(losses, levels, strict=True):
            self._by_level[min(int(LEVELS * level), LEVELS - 1)].append(one)

    @property
    def smooth_loss(self) -> float:
        """The mean of all losses, in which each counts 0.98 times the one after it."""
        return self._sum / self._weight

    def more(self, run: Run, step: int) -> dict[str, float]:
        """What is recorded besides after a step (from 1): nothing, but for those with a full record.

        The mean loss of each part of the noise levels since the last record, in thousandths; the rates as the optimizer
        takes them, where they differ; the weights' norms; the decay of their average.
        """
        if step % self._every and step not in (1, run.total_steps):
            return {}
        found = self._levels()
        found |= {f"lr_taken/{name}": rate for name, rate in run.rates.taken().items()}
        found |= {f"norm/{name}": norm for name, norm in run.network.norms().items()}
        if run.ema:
            found["ema_decay"] = run.ema.last_decay
        return found

    def _levels(self) -> dict[str, float]:
        width = 1000 // LEVELS
        means = {
            f"loss_by_level/{place * width:03d}-{(place + 1) * width}": sum(losses) / len(losses)
            for place, losses in sorted(self._by_level.items())
        }
        self._by_level.clear()
        return means

    def state(self) -> dict[str, Any]:
        """What is needed to go on."""
        return {"sum": self._sum, "weight": self._weight, "by_level": dict(self._by_level)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        if state:
            self._sum, self._weight = state["sum"], state["weight"]
            self._by_level = defaultdict(list, {place: list(losses) for place, losses in state["by_level"].items()})


def curves_of(event: Event) -> dict[str, float]:
    """What an event adds to the curves at its step: name -> value. Names are OneTrainer's, where it has them."""
    if isinstance(event, Step):
        return _of_step(event)
    if isinstance(event, Validated):
        return _of_validation(event)
    return {}


def _of_step(event: Step) -> dict[str, float]:
    found = {"loss/train_step": event.loss, "gradient_norm": event.gradient_norm}
    if event.smooth_loss is not None:
        found["smooth_loss/train_step"] = event.smooth_loss
    found |= {f"lr/{group}": rate for group, rate in event.learning_rates.items()}
    found["speed/images_per_second"] = event.images_per_second
    found["memory/host_gb"] = event.host_memory / 1e9
    if event.memory:
        found["memory/device_gb"] = event.memory / 1e9
    return found | event.more


def _of_validation(event: Validated) -> dict[str, float]:
    found = {f"loss/validation_step/{concept}": loss for concept, loss in event.losses.items()}
    found |= {f"loss/validation_ema_step/{concept}": loss for concept, loss in event.ema_losses.items()}
    found |= {f"loss/validation_by_level/{level}": loss for level, loss in event.levels.items()}
    means = {"loss/validation_mean": event.mean, "loss/validation_ema_mean": event.ema_mean}
    return found | {name: mean for name, mean in means.items() if mean is not None}


def pictures_of(event: Event) -> dict[str, str]:
    """The pictures that an event brings: name -> path, relative to the workspace."""
    if not isinstance(event, Sampled):
        return {}
    named = zip(event.by_row().items(), event.prompts, strict=True)
    return {f"samples/{row} {prompt[:60]}": path for (row, path), prompt in named}
