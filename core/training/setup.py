"""Puts a run together: base, pictures, caches, network, optimizer. One part at a time, so that little is in memory."""

from __future__ import annotations

import dataclasses
import time
import uuid
from bisect import bisect_left
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from core.config.lora import LoraConfig
from core.contracts import Batch, Conditions, Family, Model, Part, PartLayers
from core.dataset.batches import Plan
from core.dataset.draws import key_for, uniform_for
from core.dataset.found import listed
from core.dataset.loader import Loader
from core.dataset.manifest import Entry
from core.devices import detect, give_back_host_memory
from core.devices.torch_device import reset_peak_memory, sent, torch_device
from core.errors import ModelFileError, SettingsError, TrainingError
from core.objectives import Objective
from core.optimizers._state import restore_state
from core.training.base_model import BaseModel, find_base
from core.training.cache_usage import begin_usage
from core.training.curves import Curves
from core.training.due import due
from core.training.ema import Ema
from core.training.encoding import DTYPES, Encoding, PromptEncodings, Texts
from core.training.events import Event, Message, Phase
from core.training.keeping import Kept
from core.training.loop import Progress
from core.training.networks import Networks
from core.training.new_words import check_words
from core.training.pictures import frozen_manifest
from core.training.planning import (
    batch_plan,
    check_plan,
    destination_folder,
    destination_stem,
    epoch_ends,
    held_out_notes,
    names_held_out,
    output_files,
    run_length,
    step_file,
    total_steps,
)
from core.training.previews import Preview, frozen_previews
from core.training.rates import Rates
from core.training.run_folder import RunFolder, State, read_backup_network
from core.training.speed import Speed
from core.training.stepping import FusedStep, PlainStep, Rounding, Stepping

Report = Callable[[Event], None]


@dataclass
class Run:
    """A run, ready to train: what the loop works with."""

    config: LoraConfig
    folder: RunFolder
    report: Report
    accelerator: Accelerator
    base: BaseModel
    model: Model
    network: Networks
    objective: Objective
    plan: Plan
    batches: Loader
    texts: Texts
    optimizer: torch.optim.Optimizer
    previews: list[Preview]
    session: str = field(default_factory=lambda: str(uuid.uuid4().int % 2**32))
    started_at: float = field(default_factory=time.time)
    speed: Speed = field(default_factory=Speed)

    def __post_init__(self) -> None:
        self.parameters: list[nn.Parameter] = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.total_steps = total_steps(self.config, self.plan)
        self._epoch_ends = epoch_ends(self.config, self.plan)
        self.rates = Rates(self.config, self.optimizer, run_length(self.config, self.plan), self._epoch_ends)
        self.stepping = stepping_of(self.config, self.optimizer, self.accelerator.scaler)
        self.ema = Ema(self.parameters, self.config.ema) if self.config.ema.is_on else None
        self.curves = Curves(self.config.logging.every_n_steps)
        self.kept = Kept(self.config.saving.keep_last, self.folder.events_path)
        self._files = dict(output_files(self.config, self.plan))
        saving, sampling = self.config.saving, self.config.sampling
        self._saving_due = due(saving.every, saving.skip_first, self._epoch_ends)
        self._backup_due = due(saving.backup_every, "", self._epoch_ends)
        self._validation_due = due(self.config.validation.every, "", self._epoch_ends)
        self._sampling_due = due(sampling.every, sampling.skip_first, self._epoch_ends)

    @property
    def family(self) -> Family:
        """The model's family."""
        return self.base.family

    @property
    def device(self) -> torch.device:
        """Where the run calculates."""
        return self.accelerator.device

    @property
    def seed(self) -> int:
        """The key of every draw."""
        return self.config.training.seed

    @property
    def entries(self) -> list[Entry]:
        """The pictures."""
        return self.plan.entries

    # -- what a step asks for

    def gradient_sync(self, last: bool) -> AbstractContextManager[Any]:
        """Several processes exchange gradients only at a step's last micro-batch."""
        stack = ExitStack()
        for part in () if last else self.network.modules():
            stack.enter_context(self.accelerator.no_sync(self.model.parts[part]))
        return stack

    def conditions(self, batch: Batch, dropping: bool = True) -> Conditions:
        """What the denoiser is told and shown of a batch, on the device. dropping: with the text encoders' dropout."""
        encoded = self.texts.complete(batch.captions, batch.encoded, self._blank(batch) if dropping else None)
        told = self.family.collate(encoded, batch.framings).tensors | batch.controls
        return Conditions({name: sent(tensor, self.device) for name, tensor in told.items()})

    def _blank(self, batch: Batch) -> dict[Part, list[bool]]:
        """For each text encoder with dropout, the samples whose caption it reads as empty."""
        return {
            part: [uniform_for(self.seed, f"{part} dropout", sample) < settings.dropout for sample in batch.samples]
            for part, settings in self.config.parts.text().items()
            if settings.dropout and part in self.family.text_parts
        }

    # -- what is due when

    def epoch_of(self, step: int) -> int:
        """The epoch, from 1, that a step (from 1) belongs to."""
        return 1 + bisect_left(self._epoch_ends, step)

    def sample_due(self, step: int) -> bool:
        """Whether samples are drawn after a step."""
        return self._sampling_due.after(step, self.speed.trained)

    def validation_due(self, step: int) -> bool:
        """Whether what isn't learned is measured after a step: also at the end."""
        return self._validation_due.after(step, self.speed.trained) or step == self.total_steps

    def backup_due(self, step: int) -> bool:
        """Whether a backup is written after a step."""
        return self._backup_due.after(step, self.speed.trained)

    def file_due(self, step: int, asked: bool) -> str | None:
        """The name of the LoRA file that is written after a step, if one is."""
        due = self._saving_due.after(step, self.speed.trained)
        return self._files.get(step) or (step_file(self.output_stem, step) if due or asked else None)

    # -- where it goes

    @property
    def output_stem(self) -> str:
        """The LoRA's file name without its ending."""
        return destination_stem(self.config)

    @property
    def destination(self) -> Path:
        """The folder of the LoRA files."""
        return destination_folder(self.config, self.folder.output)

    def lora_name(self, part: Part, path: str) -> str:
        """A module's name in the LoRA file."""
        return self.family.lora_name(self.model, part, path)

    # -- what is kept

    def state(self, progress: Progress) -> State:
        """All that is needed to go on. TrainingError if a weight is not finite."""
        network = {name: tensor.cpu() for name, tensor in self.network.state().items()}
        broken = [name for name, tensor in network.items() if not torch.isfinite(tensor).all()]
        if broken:
            raise TrainingError(
                f"The weights are broken: {broken[0]} holds values that are not finite. They were not saved.",
                do="Lower the learning rate, and start again: the run goes on from its last backup.",
            )
        scaler = self.accelerator.scaler
        more: dict[str, Any] = {"curves": self.curves.state()}
        if self.ema:
            more["ema"] = self.ema.state()
        scaled = scaler.state_dict() if scaler else {}
        return State(network, self.optimizer.state_dict(), scaled, progress.as_dict(), more)

    def restore(self, state: State) -> None:
        """Go on from a backup."""
        self.network.load_state(state.network)
        restore_state(self.optimizer, state.optimizer)
        if self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(state.scaler)
        if self.ema:
            self.ema.load_state(state.more["ema"])
        self.curves.load_state(state.more.get("curves", {}))  # a backup of version 1 has none


def set_up(config: LoraConfig, folder: RunFolder, report: Report) -> Run:
    """A run, ready to train. StoppedEarly if the user stopped it before that."""
    accelerator = make_accelerator(config)
    reset_peak_memory(accelerator.device)
    report(Phase(title="Looking at the base model"))
    base = find_base(config)
    config = config.decided(base.family.trains)
    check_parts(config, base.family)
    usage = begin_usage(config, folder.path)
    plan = batch_plan(config, frozen_manifest(config, folder, usage.cache.folder, report), accelerator.num_processes)
    check_plan(config, plan)
    tell_held_out(config, plan, report)
    check_words(config, plan)
    previews = frozen_previews(config, folder, report)
    read = {text for preview in previews for text in (preview.positive, preview.negative)}
    if any(part.dropout for part in config.parts.text().values()):
        read.add("")  # what an encoder reads whose caption is dropped
    prompts = PromptEncodings(read)
    model = base.empty_model(config)
    objective = objective_of(config, base.family, model)
    if problems := list(config.check_objective(objective.kind, model.prediction, model.zero_terminal_snr)):
        raise SettingsError(problems)
    encoding = Encoding(config, base, accelerator, usage, report, folder.is_asked_to_stop, prompts)
    sources = encoding.prepare(model, plan)
    report(Phase(title="Loading the denoiser"))
    load_denoiser(config, base, model, accelerator.device)
    network = attach_networks(config, base, model)
    return Run(
        config=config,
        folder=folder,
        report=report,
        accelerator=accelerator,
        base=base,
        model=model,
        network=network,
        objective=objective,
        plan=plan,
        batches=Loader(plan, sources, accelerator.process_index),
        texts=Texts(base.family, model, config.live_text(base.family.text_parts), prompts, accelerator.device),
        optimizer=config.optimizer.build(network.groups(config.parts.rates())),
        previews=previews,
    )


def tell_held_out(config: LoraConfig, plan: Plan, report: Report) -> None:
    """Which pictures are only measured."""
    for text in held_out_notes(config, plan):
        report(Message(level="warning", text=text))
    if names := names_held_out(plan):
        report(Message(text=f"Held out to measure with: {listed(names)}."))


def make_accelerator(config: LoraConfig) -> Accelerator:
    """accelerate's view of this process: device, precision, other processes. MachineError for a GPU torch can't use."""
    device = torch_device(detect())
    precision = {"fp32": "no"}.get(config.memory.precision, config.memory.precision)
    return Accelerator(mixed_precision=precision, cpu=device.type == "cpu")


def check_parts(config: LoraConfig, family: Family) -> None:
    """ModelFileError for a part to train that the family doesn't have; SettingsError for rates that don't fit."""
    missing = [part for part in config.parts.trained() if part != "denoiser" and part not in family.text_parts]
    if missing:
        raise ModelFileError(
            f"{family.label} has no {missing[0]}, which is set to be trained.",
            do=f"Switch parts.{missing[0]}.train off.",
        )
    if problems := list(config.check_parts(family.trains)):
        raise SettingsError(problems)


def load_denoiser(config: LoraConfig, base: BaseModel, model: Model, device: torch.device) -> None:
    """The denoiser in the run's precision, on the device, nothing of it trainable."""
    loaded = base.load_part(config, "denoiser", DTYPES[config.memory.precision])
    model.parts["denoiser"] = loaded.parts["denoiser"].to(device)
    give_back_host_memory()


def attach_networks(config: LoraConfig, base: BaseModel, model: Model) -> Networks:
    """The networks on the parts that train, their first weights drawn from the seed, or from an earlier run."""
    trained = config.parts.trained()
    parts = {part: layers_of(base.family, part) for part in trained}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key_for(config.training.seed, "network"))
        network = Networks([one.attach(model, parts) for one in config.networks])
    if base.network:
        network.load_state(read_backup_network(base.network))
    for part in {"denoiser", *trained}:  # gradients of a text encoder go through the denoiser too
        model.parts[part].train()
        if config.memory.gradient_checkpointing:
            switch_on_checkpointing(model.parts[part])
    return network


def stepping_of(config: LoraConfig, optimizer: torch.optim.Optimizer, scaler: Any) -> Stepping:
    """How this run's gradients become changed weights."""
    training = config.training
    rounding = Rounding(training.seed, training.stochastic_rounding)
    if config.memory.fused_backward:
        return FusedStep(optimizer, rounding)
    return PlainStep(optimizer, training.max_grad_norm, scaler, rounding)


def layers_of(family: Family, part: Part) -> PartLayers:
    """A part's layers, by group and by block."""
    return PartLayers(family.layer_groups[part], family.blocks.get(part, {}))


def switch_on_checkpointing(part: Any) -> None:
    """Let a diffusers model or a transformers text encoder compute its blocks twice instead of keeping them."""
    if hasattr(part, "activation_checkpointing_enable"):
        part.activation_checkpointing_enable({"use_reentrant": False})
    else:
        part.enable_gradient_checkpointing()


def objective_of(config: LoraConfig, family: Family, model: Model) -> Objective:
    """The family's objective, at the times that the config trains."""
    times = config.times
    return dataclasses.replace(family.objective(model), first=times.first, end=times.end)  # type: ignore[type-var]
