"""One session of a run in this process: from its config, through its last backup, to its end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from accelerate.state import AcceleratorState, GradientState

from core.config.lora import LoraConfig
from core.devices import give_back_host_memory
from core.errors import OchreError, TrainingError
from core.training.encoding import StoppedEarly
from core.training.events import Event, Message, Phase, Started, Stopped
from core.training.loop import Progress, back_up, train
from core.training.previews import draw_samples
from core.training.run_folder import RunFolder, read_backup
from core.training.setup import Run, set_up
from core.training.tensorboard import TensorBoard
from core.training.weights_and_biases import WeightsAndBiases

# bitsandbytes, which diffusers imports, misses a kernel for 4-bit numbers on a CPU, which nothing here uses
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def run_session(config: LoraConfig, folder: RunFolder) -> None:
    """Train as the config says, from the workspace's last backup if it has one."""
    backup = folder.latest_backup()
    state = read_backup(backup) if backup else None
    progress = Progress(**state.progress) if state else Progress()
    with fresh_process(), readers(config, folder, progress.step) as report, out_of_memory_explained():
        try:
            run = set_up(config, folder, report)
        except StoppedEarly:
            folder.take_requests()
            report(Stopped(step=progress.step, backup=str(backup or "")))
            return
        if state:
            run.restore(state)
            report(Message(text=f"Goes on from step {progress.step}."))
        elif config.sampling.before_first_step:
            draw_samples(run, 0)
        report(started(run, progress))
        with run.batches, backed_up_on_failure(run, progress):
            train(run, progress)


def started(run: Run, progress: Progress) -> Started:
    """What readers learn at the start."""
    return Started(
        step=progress.step,
        total_steps=run.total_steps,
        steps_per_epoch=run.plan.steps_per_epoch(0),
        epochs=run.config.training.epochs,
        family=run.family.label,
        device=str(run.device),
        trained_weights=sum(parameter.numel() for parameter in run.parameters),
    )


@contextmanager
def backed_up_on_failure(run: Run, progress: Progress) -> Iterator[None]:
    """A picture or a cache that is gone costs no step that was trained: the weights are kept, and the run can go on."""
    try:
        yield
    except TrainingError:
        raise  # the weights may be at fault
    except OchreError:
        if progress.step and not run.folder.has_backup(progress.step):
            try:
                back_up(run, progress)
            except OchreError as error:
                run.report(Message(level="warning", text=f"Not backed up at step {progress.step}. {error}"))
        raise


@contextmanager
def readers(config: LoraConfig, folder: RunFolder, first_step: int) -> Iterator[TeeReport]:
    """A report that every reader of this process hears: the event log, and those that draw curves, if wanted."""
    with ExitStack() as stack:
        boards: list[TensorBoard | WeightsAndBiases] = []
        if config.logging.tensorboard:
            boards.append(TensorBoard(folder.tensorboard, folder.path, first_step))
            stack.callback(boards[-1].close)
        if config.logging.wandb:
            folder.report(Phase(title="Connecting to Weights & Biases"))
            boards.append(WeightsAndBiases(config, folder.path))
            stack.callback(boards[-1].close)
        yield TeeReport(folder, boards)


class TeeReport:
    """Hands an event to the event log and to those that draw curves."""

    def __init__(self, folder: RunFolder, boards: Sequence[Callable[[Event], None]]) -> None:
        self._readers = [folder.report, *boards]

    def __call__(self, event: Event) -> None:
        """Report an event."""
        for reader in self._readers:
            reader(event)


@contextmanager
def fresh_process() -> Iterator[None]:
    """Runs in one process don't meet: accelerate's singleton, the random generator and memory are given back."""
    random = torch.random.get_rng_state()
    try:
        yield
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        torch.random.set_rng_state(random)
        give_back_host_memory()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


@contextmanager
def out_of_memory_explained() -> Iterator[None]:
    """Turns torch's out-of-memory error into one that says what to do."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            "The GPU's memory is full.",
            str(error).split(". ")[0] + ".",
            "Choose a smaller memory profile, a smaller batch size or resolution, or switch on gradient checkpointing.",
        ) from error
