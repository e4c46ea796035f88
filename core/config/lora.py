"""The job of LoRA_Trainer: a LoRA from a folder of pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Literal

from core.config import sections
from core.config.migrations import VERSION
from core.contracts import Part
from core.dataset.settings import Buckets, Concept
from core.errors import Problem
from core.networks.embedding import Embedding
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
from core.settings.bases.times import SCALE

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
        lambda: [NETWORKS.default("lora")()], "Network", "The LoRA itself, and embeddings beside it: new words."
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
    validation: sections.Validation = setting(
        sections.Validation(), "Validation", "How well it does on pictures that it doesn't learn."
    )
    ema: sections.Ema = setting(sections.Ema(), "Average of the weights", "An average over the latest steps (EMA).")
    logging: sections.Logging = setting(sections.Logging(), "Logging", "What else is recorded.")
    engine: Annotated[EngineConfig, ENGINES] = setting(ENGINES.default("native"), "Engine", "What carries the run out.")

    @property
    def embeds(self) -> bool:
        """Whether it teaches new words: then every text encoder is needed at each step."""
        return any(not network.adapts for network in self.networks)

    @property
    def adapts(self) -> bool:
        """Whether it changes layers of the parts that are trained."""
        return any(network.adapts for network in self.networks)

    def decided(self, trains: Sequence[Part]) -> LoraConfig:
        """The config with yes or no for each part. trains: the parts that the family trains by default.

        Without a network that changes layers no part is trained.
        """
        parts = self.parts.decided(trains) if self.adapts else self.parts.untrained()
        return self.model_copy(update={"parts": parts})

    def live_text(self, text_parts: Sequence[Part]) -> list[Part]:
        """The text encoders of those that are needed at each step."""
        trained = self.parts.trained()
        return [part for part in text_parts if self.embeds or part in trained]

    def check_parts(self, trains: Sequence[Part]) -> Iterator[Problem]:
        """Problems of what is trained, and how fast. trains: the parts that the family trains by default."""
        rates = self.parts.rates(trains) if self.adapts else {}
        words = {f"networks.{i}": n.learning_rate for i, n in enumerate(self.networks) if isinstance(n, Embedding)}
        if self.adapts and not rates:
            yield Problem("parts.denoiser.train", "nothing would be trained; switch on at least one part")
        elif (rates or words) and not any([*rates.values(), *words.values()]):
            path = f"parts.{next(iter(rates))}" if rates else next(iter(words), "networks.0")
            named = ", ".join([*rates, *words])
            yield Problem(f"{path}.learning_rate", f"nothing would be learned: the rates of {named} are all 0")
        for problem in self.optimizer.check_rates(rates | words):
            yield problem.moved({f"parts.{word}.learning_rate": f"{word}.learning_rate" for word in words})

    def check_words(self, knows: Callable[[str], bool]) -> Iterator[Problem]:
        """A problem for each embedding whose word isn't new. knows: whether the base knows a word."""
        for index, network in enumerate(self.networks):
            if isinstance(network, Embedding) and knows(network.token):
                message = f"the base model knows the word {network.token} already; choose another, that means nothing"
                yield Problem(f"networks.{index}.token", message)

    def check_objective(
        self, kind: str, prediction: str | None = None, ends_in_noise: bool | None = None
    ) -> Iterator[Problem]:
        """Problems of settings that a base noised in this way, or that predicts this, can't follow.

        kind: diffusion or flow. prediction, ends_in_noise (zero terminal SNR): None where they aren't known.
        """
        for name in ("prediction", "zero_terminal_snr") if kind == "flow" else ():
            if getattr(self.base, name) != "detect":
                path = f"base.{name}"
                yield Problem(path, "is of diffusion models, and the base is a flow model", {path: "detect"})
        ends_in_noise = ends_in_noise and self.times.end == SCALE
        for index, weighting in enumerate(self.weightings):
            if reason := weighting.unsuited(kind, prediction, ends_in_noise):
                others = [other.model_dump() for other in self.weightings if other is not weighting]
                yield Problem(f"weightings.{index}.name", reason, {"weightings": others})
        if self.noise.generalized_offset_noise and (kind == "flow" or ends_in_noise):
            what = "flow models" if kind == "flow" else "a base with zero terminal SNR"
            path = "noise.generalized_offset_noise"
            yield Problem(path, f"{what} can't have it; switch it off", {path: False})

    def check(self) -> Iterator[Problem]:
        if not self.base.source:
            yield Problem("base.source", "choose a base model: a file, a folder, or a hub name")
        yield from self.check_parts(("denoiser",))
        yield from self._check_stops()
        yield from self._check_stepping()
        yield from self._check_average()
        yield from self._check_weight_dtype()
        yield from self._check_one_rate()
        yield from self.schedule.check_optimizer(self.optimizer)
        yield from self._check_networks()
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

    def _check_networks(self) -> Iterator[Problem]:
        """At most one network changes layers, and no two teach the same word."""
        if not self.networks:
            yield Problem("networks", "there is nothing to train: add a network, such as lora")
        adapters = [network.name for network in self.networks if network.adapts]
        if len(adapters) > 1:
            message = f"a run has one network that changes layers, and embeddings; there are {', '.join(adapters)}"
            yield Problem("networks", message)
        words = [n.token.casefold() for n in self.networks if isinstance(n, Embedding)]
        for index, network in enumerate(self.networks):
            if isinstance(network, Embedding) and words.count(network.token.casefold()) > 1:
                yield Problem(f"networks.{index}.token", f"two embeddings have the word {network.token}")
        ends = [name.casefold() for network in self.networks for name in network.beside_names()]
        for index, network in enumerate(self.networks):
            twice = [name for name in network.beside_names() if ends.count(name.casefold()) > 1]
            if twice and not (isinstance(network, Embedding) and words.count(network.token.casefold()) > 1):
                message = f"writes NAME_{twice[0]}.safetensors, and so does another network; choose another word"
                yield Problem(f"networks.{index}", message)

    def _check_stops(self) -> Iterator[Problem]:
        """At least one part goes on to the end."""
        trained = self.parts.trained()
        if trained and all(getattr(self.parts, part).stop_after for part in trained):
            path = f"parts.{trained[0]}.stop_after"
            message = f"every part that is trained stops ({', '.join(trained)}); leave one empty, and shorten the run"
            yield Problem(path, message, {path: ""})

    def _check_average(self) -> Iterator[Problem]:
        """One average of the weights is enough."""
        if self.ema.is_on and self.optimizer.averages_weights():
            message = f"{self.optimizer.label} (optimizer.name) averages the weights by itself; switch it off"
            yield Problem("ema.where", message, {"ema.where": "off"})

    def _check_weight_dtype(self) -> Iterator[Problem]:
        """Schedule-free optimizers move the weights to their average and back, which bf16 would blur each time."""
        for index, network in enumerate(self.networks):
            if self.optimizer.averages_weights() and getattr(network, "weight_dtype", "fp32") == "bf16":
                path = f"networks.{index}.weight_dtype"
                message = f"{self.optimizer.label} (optimizer.name) averages the weights, which needs fp32"
                yield Problem(path, message, {path: "fp32"})

    def _check_one_rate(self) -> Iterator[Problem]:
        """Optimizers that find the rate find one for all weights."""
        if not self.optimizer.needs_one_rate():
            return
        for index, network in enumerate(self.networks):
            for path in network.own_rates():
                message = f"{self.optimizer.label} (optimizer.name) finds one rate for all weights, and this is another"
                yield Problem(f"networks.{index}.{path}", f"{message}; take it out, or choose another optimizer")

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
