"""What a run will do, told before it starts: pictures, steps, files. Needs no torch."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.config.lora import LoraConfig
from core.config.sections.ema import PLAIN
from core.dataset.batches import Batching, Plan
from core.dataset.held_out import held_out, spared
from core.dataset.manifest import Manifest
from core.dataset.report import CountTokens, Run
from core.dataset.reporting import advice
from core.dataset.survey import Note, Survey, survey
from core.errors import PictureError, Problem, SettingsError
from core.settings.bases.schedule import RunLength
from core.settings.cadence import Cadence, parse_cadence
from core.training.due import epochs_ended, first_step

CARD, CARD_PICTURES = "README.md", "images"
"""The model card, and the folder of its pictures, both beside the result."""


@dataclass(frozen=True)
class TrainingPlan:
    """What Check shows.

    pictures, tiles, held_out: how many there are to learn from, and to measure with. per_epoch: how many of them an
    epoch shows, with repeats. buckets: size -> how many of these. steps_per_epoch: of the first epoch. writes: the LoRA
    files, in order. measured: the names of the pictures that are held out of standard concepts. length: as schedules
    count it.
    """

    pictures: int
    tiles: int
    held_out: int
    per_epoch: int
    buckets: dict[str, int]
    steps_per_epoch: int
    epochs: int
    total_steps: int
    length: RunLength
    workspace: Path | None
    writes: list[str]
    left_out: list[Note] = field(default_factory=list)
    converted: list[Note] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    measured: list[str] = field(default_factory=list)


def plan_run(config: LoraConfig) -> TrainingPlan:
    """Look at the pictures and count. PictureError if there is nothing to train on; SettingsError as `check_plan`."""
    return describe(config, survey(config.concepts, config.buckets))


def describe(config: LoraConfig, found: Survey) -> TrainingPlan:
    """The plan for pictures that were looked at already."""
    plan = batch_plan(config, Manifest(tuple(found.entries), found.lines))
    check_plan(config, plan)
    total = total_steps(config, plan)
    learned = [
        entry
        for index, entry in enumerate(found.entries)
        if config.concepts[entry.concept].trains and index not in plan.held_out
    ]
    counts = sorted(plan.bucket_counts().items(), key=lambda item: (item[0].width, item[0].height))
    workspace = Path(config.saving.workspace) if config.saving.workspace else None
    return TrainingPlan(
        pictures=len({entry.path for entry in learned}),
        tiles=sum(entry.tile is not None for entry in learned),
        held_out=len(found.entries) - len(learned),
        per_epoch=plan.samples_per_epoch(),
        buckets={str(size): count for size, count in counts},
        steps_per_epoch=plan.steps_per_epoch(0),
        epochs=config.training.epochs,
        total_steps=total,
        length=run_length(config, plan),
        workspace=workspace,
        writes=list(told_files(config, plan)),
        left_out=found.left_out,
        converted=found.converted,
        warnings=[*found.warnings, *advice_on(config), *plan.remainder_notes(), *held_out_notes(config, plan)],
        measured=names_held_out(plan),
    )


def advice_on(config: LoraConfig) -> list[str]:
    """Settings of the concepts that don't fit each other, such as changes of which only one version is kept."""
    run = report_run(config)
    return [
        f"{concept.name or concept.folder}: {text}"
        for concept in config.concepts
        if concept.trains
        for text in advice(concept, run)
    ]


def report_run(config: LoraConfig, plan: Plan | None = None, count_tokens: CountTokens | None = None) -> Run:
    """What a report on the pictures needs to know of a config."""
    memory = config.memory
    return Run(plan, memory.latent_caching, memory.text_caching, config.base.max_token_length, count_tokens)


def batch_plan(config: LoraConfig, manifest: Manifest, processes: int = 1) -> Plan:
    """The order in which these pictures are shown."""
    training, memory = config.training, config.memory
    batching = Batching(training.train_batch_size, training.gradient_accumulation_steps, processes)
    return Plan(
        manifest,
        config.concepts,
        config.buckets,
        batching,
        training.seed,
        memory.latent_caching,
        memory.text_caching,
        held_out(manifest.entries, config.concepts, config.validation.share, config.validation.seed),
    )


def names_held_out(plan: Plan) -> list[str]:
    """The pictures of standard concepts that are only measured."""
    return list(dict.fromkeys(plan.entries[index].name for index in sorted(plan.held_out)))


def held_out_notes(config: LoraConfig, plan: Plan) -> list[str]:
    """The concepts of which no picture could be held out, though a share of each was asked for."""
    if not config.validation.share:
        return []
    return [
        f"{config.concepts[number].name or config.concepts[number].folder}: no picture can be held out to measure "
        "with. It has only one, or other concepts learn from them too."
        for number in spared(plan.entries, config.concepts, plan.held_out)
    ]


def total_steps(config: LoraConfig, plan: Plan) -> int:
    """Steps of the whole run. PictureError if there are none."""
    steps = plan.total_steps(config.training.epochs, config.training.max_steps)
    if not steps:
        raise PictureError(
            f"In {config.training.epochs} epochs no picture is shown.",
            "The concepts show only a fraction of their pictures in each epoch.",
            "Raise their repeats, or the number of epochs.",
        )
    return steps


def run_length(config: LoraConfig, plan: Plan) -> RunLength:
    """How long the run is, an epoch that it doesn't finish counted in."""
    total, ends = total_steps(config, plan), epoch_ends(config, plan)
    epochs = len(ends) + (not ends or ends[-1] < total)
    return RunLength(total, epochs, plan.steps_per_epoch(0))


def check_plan(config: LoraConfig, plan: Plan) -> None:
    """SettingsError for a schedule that doesn't fit into the run's steps."""
    problems = [
        Problem(f"schedule.{problem.path}", problem.message, _below("schedule", problem.replacement))
        for problem in config.schedule.check_length(run_length(config, plan))
    ]
    if problems:
        raise SettingsError(problems)


def _below(table: str, values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {f"{table}.{name}": value for name, value in values.items()} if values else None


def epoch_ends(config: LoraConfig, plan: Plan) -> list[int]:
    """The step after which each epoch ends, of those that the run reaches."""
    total, ends, step = total_steps(config, plan), [], 0
    for epoch in range(config.training.epochs):
        step += plan.steps_per_epoch(epoch)
        if step > total:
            break
        ends.append(step)
    return ends


def output_files(config: LoraConfig, plan: Plan) -> list[tuple[int, str]]:
    """Step and file name of each LoRA that the run writes, named as kohya names them; the last is the result."""
    saving, total = config.saving, total_steps(config, plan)
    stem = destination_stem(config)
    ends, every = epoch_ends(config, plan), parse_cadence(saving.every)
    first, files = first_step(saving.skip_first, ends), {}
    for each in every.steps:
        files |= {step: step_file(stem, step) for step in range(each, total, each)}
    for step, epochs in epochs_ended(ends).items():  # where both are due, one file, with the epoch's name
        numbers = [epoch for epoch in epochs if any(epoch % each == 0 for each in every.epochs)]
        if numbers and step < total:
            files[step] = f"{stem}-{numbers[-1]:06d}.safetensors"
    return [*sorted((step, name) for step, name in files.items() if step >= first), (total, f"{stem}.safetensors")]


def step_file(stem: str, step: int) -> str:
    """The name of a LoRA that is saved after a step, where it isn't an epoch's."""
    return f"{stem}-step{step:08d}.safetensors"


def best_file(stem: str) -> str:
    """The name of the LoRA that did best on what isn't learned."""
    return f"{stem}-best.safetensors"


def told_files(config: LoraConfig, plan: Plan) -> Iterator[str]:
    """The LoRA files in words: those that stay, how often further ones come by the clock, the result."""
    saving = config.saving
    *on_the_way, (_, result) = output_files(config, plan)
    kept = on_the_way[-saving.keep_last :] if saving.keep_last else on_the_way
    if len(kept) < len(on_the_way):
        yield f"{len(on_the_way)} on the way, of which the last {len(kept)} stay"
    yield from (told for _, name in kept for told in with_beside(config, name))
    if by_time := Cadence(seconds=parse_cadence(saving.every).seconds):
        yield f"{destination_stem(config)}-step*.safetensors (about every {by_time})"
    if config.validation.save_best:
        yield from with_beside(config, best_file(destination_stem(config)))
    yield from with_beside(config, result)
    if config.metadata.model_card:
        yield CARD


def beside_names(config: LoraConfig) -> list[str]:
    """What is put after a LoRA's name for each further file that is written with it."""
    return [name for name in _name_ends(config) if name]


def with_beside(config: LoraConfig, name: str) -> list[str]:
    """A LoRA file and those that are written with it."""
    path = Path(name)
    return [f"{path.stem}{end}{path.suffix}" for end in _name_ends(config)]


def _name_ends(config: LoraConfig) -> list[str]:
    """The same, the LoRA's own file with them; it isn't written where all that is trained has files of its own."""
    networks = [f"_{name}" for network in config.networks for name in network.beside_names()]
    own = any(network.adapts or not network.beside_names() for network in config.networks)
    weights = ["", f"-{PLAIN}"] if config.ema.is_on and config.ema.save == "both" else [""]
    return [f"{first}{second}" for first in weights for second in ([""] if own else []) + networks]


def destination_stem(config: LoraConfig) -> str:
    """The LoRA's file name without its ending."""
    destination = Path(config.saving.destination)
    return destination.stem if destination.suffix == ".safetensors" else config.saving.name


def destination_folder(config: LoraConfig, output: Path) -> Path:
    """Where LoRA files go; `output` is the workspace's own folder for them."""
    if not config.saving.destination:
        return output
    destination = Path(config.saving.destination)
    return destination.parent if destination.suffix == ".safetensors" else destination


def check_destination(config: LoraConfig) -> Iterator[Problem]:
    """A problem for what stands already where the LoRA would be written."""
    if not config.saving.destination or config.saving.overwrite:
        return
    folder, stem = destination_folder(config, Path()), destination_stem(config)
    if folder.is_file():
        yield Problem("saving.destination", f"{folder} is a file, not a folder")
    taken = sorted(
        path.name for path in folder.glob(f"{glob.escape(stem)}*.safetensors") if _is_ours(config, path.stem, stem)
    )
    taken += [str(path.relative_to(folder)) for name in card_names(config, stem) for path in sorted(folder.glob(name))]
    if taken:
        yield Problem(
            "saving.destination", f"{taken[0]} is there already; choose another name or place, or allow replacing"
        )


def card_names(config: LoraConfig, stem: str) -> list[str]:
    """The model card's files, with an asterisk for the pictures' numbers; none where no card is written."""
    return [CARD, f"{CARD_PICTURES}/{glob.escape(stem)}_*.png"] if config.metadata.model_card else []


def _is_ours(config: LoraConfig, name: str, stem: str) -> bool:
    """Whether a run could write a LoRA of this name."""
    beside = "|".join(map(re.escape, beside_names(config)))
    return bool(re.fullmatch(rf"{re.escape(stem)}(-\d+|-step\d+|-best)?({beside})?", name))
