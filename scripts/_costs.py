"""The benchmark of what a run can do besides: each network against LoRA, and what EMA, masks, logging and more cost."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.config.lora import LoraConfig
from core.config.toml_file import merge, to_data
from core.registry import registry
from core.settings.checks import load
from scripts._bare_loop import RANK, Case, benchmark_case, our_steps

LOGGING_LIMIT = 0.02
"""Share of a step's time that logging and checks may take."""

EXTRAS: Mapping[str, Mapping[str, Any]] = {
    "EMA on the device": {"ema": {"where": "device"}},
    "EMA in the computer's memory": {"ema": {"where": "cpu"}},
    "masks": {"concepts": {"image": {"mask": "file"}}},
    "gradient checkpointing": {"memory": {"gradient_checkpointing": True}},
    "fused backward pass": {"memory": {"fused_backward": True}, "training": {"max_grad_norm": 0.0}},
    "bf16 weights, rounded at random": {"networks": {"weight_dtype": "bf16"}},
}
"""What is measured -> the settings that switch it on."""


def compare_networks(model: str, pairs: int, folder: Path, names: Sequence[str] = ()) -> int:
    """A step of each network (or of those named) against LoRA's at the same rank, in turn; prints a line for each.

    Always 0: some algorithms cost more by their nature.
    """
    plain = our_steps(case_with(model, folder, {}))
    for name, cls in registry("networks").all().items():
        if name == "lora" or not cls.adapts or (names and name not in names):
            continue
        settings = {"name": name, **({"rank": RANK, "alpha": float(RANK)} if "rank" in cls.model_fields else {})}
        ratio, spread = ratio_of(our_steps(case_with(model, folder, {"networks": settings})), plain, pairs)
        print(f"networks, {model}: a step of {name} costs {ratio:.2f} times LoRA's {spread}")
    return 0


def compare_extras(model: str, pairs: int, folder: Path) -> int:
    """A step with each of the extras against one without, in turn; prints the lines. 1: logging costs too much."""
    plain = our_steps(case_with(model, folder, {}))
    for title, changes in EXTRAS.items():
        ratio, spread = ratio_of(our_steps(case_with(model, folder, changes)), plain, pairs)
        print(f"extras, {model}: a step with {title} costs {ratio:.3f} times one without {spread}")
    print(validation_line(model, folder))
    return logging_share(model, pairs, folder)


def case_with(model: str, folder: Path, changes: Mapping[str, Any]) -> Case:
    """The benchmark's case with some settings changed; those of concepts and networks are of the first one."""
    case = benchmark_case(model, folder)
    data = to_data(case.config)
    for name in ("concepts", "networks"):
        if name in changes:
            own = changes[name]
            first = own if "name" in own else merge(data[name][0], own)
            changes = {**changes, name: [first]}
    return replace(case, config=load(LoraConfig, merge(data, dict(changes))))


def ratio_of(one: Callable[[], object], other: Callable[[], object], pairs: int) -> tuple[float, str]:
    """The median of the ratios of single steps taken in turn, and its quartiles in words."""
    for step in (one, other, one, other):
        step()  # the first steps warm up
    ratios = [timed(one) / timed(other) for _ in range(max(pairs, 2))]
    low, _, high = statistics.quantiles(ratios, n=4)
    return statistics.median(ratios), f"(quartiles {low:.2f} to {high:.2f}, {len(ratios)} pairs)"


def timed(step: Callable[[], object]) -> float:
    """Seconds of a step, with what it left the device to do."""
    import torch

    begin = time.perf_counter()
    step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def started(case: Case) -> tuple[Any, Any]:
    """A run that is set up, and its progress."""
    from core.training.loop import Progress
    from core.training.run_folder import RunFolder, propose_workspace
    from core.training.session import readers
    from core.training.setup import set_up

    folder = RunFolder(propose_workspace("costs", case.folder / "workspaces"))
    folder.lock()
    folder.claim(case.config)
    with readers(case.config, folder, 0) as report:
        return set_up(case.config, folder, report), Progress()


def validation_line(model: str, folder: Path) -> str:
    """What measuring one held-out picture at one noise level costs, in steps."""
    from core.training.loop import one_step
    from core.training.validation import validate

    changes = {"validation": {"share": 0.5, "times": 4}}
    run, progress = started(case_with(model, folder, changes))
    one_step(run, progress)
    measured = sum(len(batch) for batches in run.batches.validation.values() for batch in batches)
    steps = statistics.median(timed(lambda: one_step(run, progress)) for _ in range(10))
    seconds = statistics.median(timed(lambda: validate(run, progress)) for _ in range(5))
    share = seconds / steps / measured / 4
    return f"extras, {model}: to measure a held-out picture at one noise level costs {share:.3f} steps"


def logging_share(model: str, pairs: int, folder: Path) -> int:
    """The share of a step's time that goes into checks, events, curves and TensorBoard. 1 if it is above the limit."""
    from core.training import loop

    run, progress = started(case_with(model, folder, {"logging": {"tensorboard": True}}))
    spent, whole = 0.0, 0.0
    for number in range(max(pairs, 20) + 5):
        begin = time.perf_counter()
        with run.speed.measured():
            result = loop.train_step(run, progress)
        trained = time.perf_counter()
        run.speed.add(result.images)
        run.report(loop.step_event(run, progress, result))
        end = time.perf_counter()
        loop.check_losses(result.losses, [""] * len(result.losses), progress.step)
        checked = time.perf_counter() - end
        if number >= 5:
            spent, whole = spent + (end - trained) + checked, whole + (end - begin)
    share = spent / whole
    verdict = "ok" if share <= LOGGING_LIMIT else "TOO MUCH"
    print(f"extras, {model}: logging and checks take {share:.2%} of a step (limit {LOGGING_LIMIT:.0%}): {verdict}")
    return int(share > LOGGING_LIMIT)
