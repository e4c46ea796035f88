"""The learning rates over a run, drawn before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.config.lora import LoraConfig
from core.errors import OchreError
from core.networks._groups import LoraPlus
from core.networks.embedding import Embedding
from core.settings.bases import ScheduleConfig
from core.settings.bases.schedule import RunLength
from core.settings.duration import steps_of
from widgets.plot import COLOURS, Frame, evenly, short, step_labels
from widgets.wording import counted, note

NOMINAL = 1000
"""Steps of the drawing where the run's aren't known yet."""


@dataclass(frozen=True)
class Learner:
    """What learns at a rate of its own. stop: the step from which on it doesn't learn any more."""

    name: str
    rate: float
    stop: int | None = None


@dataclass
class Rates:
    """Learners of the same rate and stop: one line."""

    rate: float
    stop: int | None
    names: list[str] = field(default_factory=list)

    def told(self) -> str:
        return f"{', '.join(self.names)}: {short(self.rate)}"


def schedule_plot(config: LoraConfig, learners: list[Learner], length: RunLength, known: bool = True) -> str:
    """The rate of each learner over the steps of a run, as HTML. known: whether the run's length is that."""
    if config.optimizer.keeps_own_rate():
        return note("", f"{config.optimizer.label} sets the learning rate by itself.")
    try:
        drawn = _drawing(config.schedule, _lines(learners), length, known)
    except OchreError as error:  # a class of the user's that can't be used; it is told beside its setting, too
        return note("The schedule can't be drawn.", str(error), "bad")
    if not config.optimizer.needs_one_rate():
        return drawn
    return f'{drawn}<div class="ochre-help">{config.optimizer.label} multiplies this by a factor that it finds.</div>'


def learners_of(config: LoraConfig, rates: Mapping[str, float], length: RunLength) -> list[Learner]:
    """What learns at which rate. rates: of the parts that are trained."""
    found = []
    for network in config.networks:
        if isinstance(network, Embedding):
            stop = _stop(network.stop_after, length)
            found.append(Learner(f"embedding {network.token}", network.learning_rate, stop))
            continue
        stops = {part: _stop(getattr(config.parts, part).stop_after, length) for part in rates}
        found += [Learner(part, rate, stops[part]) for part, rate in rates.items()]
        if isinstance(network, LoraPlus):
            ups = {part: network.up_ratio(part) for part in rates}
            found += [Learner(f"{part} up", rates[part] * up, stops[part]) for part, up in ups.items() if up != 1]
        for number, rule in enumerate(getattr(network, "rules", ()), start=1):
            if rule.learning_rate:
                found.append(Learner(f"rule {number}", rule.learning_rate))
            elif rule.learning_rate_factor != 1 and rates:
                part, rate = next(iter(rates.items()))
                found.append(Learner(f"{part} rule {number}", rate * rule.learning_rate_factor, stops[part]))
    return found


def _stop(text: str, length: RunLength) -> int | None:
    try:
        number, unit = steps_of(text)
    except ValueError:  # told beside its setting
        return None
    return (number * max(1, length.steps_per_epoch) if unit == "epochs" else number) or None


def _lines(learners: list[Learner]) -> list[Rates]:
    lines: dict[tuple[float, int | None], Rates] = {}
    for learner in learners:
        key = learner.rate, learner.stop
        lines.setdefault(key, Rates(*key)).names.append(learner.name)
    return sorted(lines.values(), key=lambda line: -line.rate)


def _drawing(schedule: ScheduleConfig, lines: list[Rates], length: RunLength, known: bool) -> str:
    steps = evenly(length.steps)
    curves = [
        [0.0 if line.stop and step >= line.stop else schedule.rate(line.rate, step, length) for step in steps]
        for line in lines
    ]
    highest = max((max(curve) for curve in curves), default=0.0) or 1.0
    frame = Frame((0, max(1, length.steps)), (0.0, highest * 1.05))
    count = counted(length.steps, "step")
    title = f"Learning rate over the run's {count}" if known else f"Learning rate, drawn for {count}"
    inside = frame.axes(step_labels(length.steps))
    warmup = schedule.warmup(length.steps)
    if 0 < warmup < length.steps:
        inside += frame.mark(warmup)
        title += f", {warmup:,} of them to warm up"
    for place, curve in reversed(list(enumerate(curves))):
        inside += frame.line(f"line-{min(place, COLOURS - 1)}", [*steps, length.steps], [*curve, curve[-1]])
    shown = lines[:COLOURS]
    legend = {f"line-{place}": line.told() for place, line in enumerate(shown)}
    more = len(lines) - len(shown)
    if more:
        legend[f"line-{COLOURS - 1}"] = f"{shown[-1].told()} and {more} more"
    return frame.drawing(title, inside, legend)
