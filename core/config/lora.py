"""The job of LoRA_Trainer: a LoRA from a folder of pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from core.config import sections
from core.config.migrations import VERSION
from core.contracts import Part
from core.dataset.settings import Buckets, Concept
from core.errors import Problem
from core.settings import Settings, plugin, setting
from core.settings.bases import (
    EngineConfig,
    LossConfig,
    NetworkConfig,
    OptimizerConfig,
    ScheduleConfig,
    TimesConfig,
    WeightingConfig,
)

NETWORKS, OPTIMIZERS, SCHEDULES = plugin("networks"), plugin("optimizers"), plugin("schedules")
TIMES, LOSSES, WEIGHTINGS, ENGINES = plugin("times"), plugin("losses"), plugin("weightings"), plugin("engines")


class LoraConfig(Settings):
    """One run that trains a LoRA."""

    version: int = setting(VERSION, "Version", "Layout of this file.", ge=1, le=VERSION, affects="files")
    job: Literal["lora"] = setting("lora", "Job", "What this file is for.")
    base: sections.Base = setting(sections.Base(), "Base model", "The model that training starts from.")
    parts: sections.Parts = setting(sections.Parts(), "Parts", "What is trained, and how fast.")
    concepts: list[Concept] = setting([Concept(name="pictures")], "Concepts", "The pictures.")
    buckets: Buckets = setting(Buckets(), "Resolution", "The sizes that pictures are brought to.")
    networks: list[Annotated[NetworkConfig, NETWORKS]] = setting(
        lambda: [NETWORKS.default("lora")()], "Network", "The LoRA itself."
    )
    training: sections.Training = setting(sections.Training(), "Training", "How long and how much at once.")
    optimizer: Annotated[OptimizerConfig, OPTIMIZERS] = setting(
        OPTIMIZERS.default("adamw"), "Optimizer", "How the weights change."
    )
    schedule: Annotated[ScheduleConfig, SCHEDULES] = setting(
        SCHEDULES.default("cosine"), "Schedule", "How the learning rate changes over the run."
    )
    noise: sections.Noise = setting(sections.Noise(), "Noise", "The noise that pictures are hidden in.")
    times: Annotated[TimesConfig, TIMES] = setting(
        TIMES.default("uniform"), "Times", "Which noise levels are trained how often."
    )
    losses: list[Annotated[LossConfig, LOSSES]] = setting(
        lambda: [LOSSES.default("l2")()], "Losses", "What an error costs; summed where there are several."
    )
    weightings: list[Annotated[WeightingConfig, WEIGHTINGS]] = setting(
        [], "Weightings", "Factors on the loss by noise level; multiplied where there are several."
    )
    memory: sections.Memory = setting(sections.Memory(), "Memory", "Memory against speed.")
    saving: sections.Saving = setting(sections.Saving(), "Saving", "What is written, where, and how often.")
    sampling: sections.Sampling = setting(sections.Sampling(), "Samples", "Pictures drawn during the run.")
    metadata: sections.Metadata = setting(
        sections.Metadata(), "Metadata", "What the LoRA's file tells of itself, and the model card."
    )
    ema: sections.Ema = setting(sections.Ema(), "Average of the weights", "An average over the latest steps (EMA).")
    logging: sections.Logging = setting(sections.Logging(), "Logging", "What else is recorded.")
    engine: Annotated[EngineConfig, ENGINES] = setting(ENGINES.default("native"), "Engine", "What carries the run out.")

    def decided(self, trains: Sequence[Part]) -> LoraConfig:
        """The config with yes or no for each part. trains: the parts that the family trains by default."""
        return self.model_copy(update={"parts": self.parts.decided(trains)})

    def check_parts(self, trains: Sequence[Part]) -> Iterator[Problem]:
        """Problems of what is trained, and how fast. trains: the parts that the family trains by default."""
        rates = self.parts.rates(trains)
        if not rates:
            yield Problem("parts.denoiser.train", "nothing would be trained; switch on at least one part")
        elif not any(rates.values()):
            path = f"parts.{next(iter(rates))}.learning_rate"
            yield Problem(path, f"nothing would be learned: the rates of {', '.join(rates)} are all 0")
        yield from self.optimizer.check_rates(rates)

    def check(self) -> Iterator[Problem]:
        if not self.base.source:
            yield Problem("base.source", "choose a base model: a file, a folder, or a hub name")
        yield from self.check_parts(("denoiser",))
        yield from self._check_stops()
        yield from self._check_stepping()
        yield from self._check_average()
        if len(self.networks) != 1:
            yield Problem("networks", f"a run trains one network; there are {len(self.networks)}")
        if not any(concept.enabled and concept.kind == "standard" for concept in self.concepts):
            yield Problem(
                "concepts", "there is nothing to learn from; add a concept of the kind standard, and enable it"
            )
        if not any(loss.weight for loss in self.losses):
            yield Problem("losses", "nothing would be learned: no loss has a weight above 0")
        for index, concept in enumerate(self.concepts):
            if concept.enabled and not concept.folder:
                yield Problem(f"concepts.{index}.folder", "choose the folder with the pictures")
            if concept.enabled and concept.resolution:
                yield from self.buckets.problems_of(concept, f"concepts.{index}.resolution")

    def _check_stops(self) -> Iterator[Problem]:
        """At least one part goes on to the end."""
        trained = self.parts.trained()
        if trained and all(getattr(self.parts, part).stop_after for part in trained):
            path = f"parts.{trained[0]}.stop_after"
            message = f"every part that is trained stops ({', '.join(trained)}); leave one empty, and shorten the run"
            yield Problem(path, message, {path: ""})

    def _check_average(self) -> Iterator[Problem]:
        """One average of the weights is enough."""
        if self.ema.is_on and self.optimizer.schedule_free:
            message = f"{self.optimizer.label} (optimizer.name) averages the weights by itself; switch it off"
            yield Problem("ema.where", message, {"ema.where": "off"})

    def _check_stepping(self) -> Iterator[Problem]:
        """What the fused backward pass can't be together with."""
        if not self.memory.fused_backward:
            return
        path, training, off = "memory.fused_backward", self.training, {"memory.fused_backward": False}
        if not self.optimizer.fused_backward:
            yield Problem(path, f"{self.optimizer.label} (optimizer.name) changes all weights together", off)
        if training.gradient_accumulation_steps > 1:
            replacement = {"training.gradient_accumulation_steps": 1}
            message = "keeps no gradients to add up; set training.gradient_accumulation_steps to 1, or switch it off"
            yield Problem(path, message, replacement)
        if training.max_grad_norm:
            replacement = {"training.max_grad_norm": 0.0}
            message = "never knows the norm of all gradients; set training.max_grad_norm to 0, or switch it off"
            yield Problem(path, message, replacement)
        if self.memory.precision == "fp16":
            yield Problem(path, "doesn't work in fp16 (memory.precision), whose gradients are scaled", off)
