"""Held-out pictures in runs: what is measured when, the best step, its file, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from core.config.lora import LoraConfig
from core.config.toml_file import read_config
from core.manager.training_executor import Job
from core.registry import registry
from core.settings.checks import validate
from core.training.events import Event, Finished, Saved, Step, Validated
from core.training.loop import Progress, one_step
from core.training.planning import plan_run
from core.training.setup import Run
from core.training.validation import validate as validate_run

Train = Callable[..., tuple[Job, Event | None]]


def run(train: Train, workspace: Path, **changes: Any) -> tuple[dict[str, torch.Tensor], list[Any]]:
    """The LoRA, and what was told of its steps, its files and what was measured."""
    saving = {"workspace": str(workspace), **changes.pop("saving", {})}
    parts = {"denoiser": {"learning_rate": 1e-2}}
    job, ending = train("sd15", {"parts": parts, "saving": saving, **changes})
    assert isinstance(ending, Finished), ending
    return load_file(ending.path), [e for e in job.events()[0] if isinstance(e, Step | Saved | Validated)]


def measured(events: list[Any]) -> list[Validated]:
    return [event for event in events if isinstance(event, Validated)]


SHARE = {"share": 0.34, "every": "1 step"}


def test_what_is_held_out_is_told_and_not_learned(train: Train, run_toml: Callable[..., Path], tmp_path: Path) -> None:
    plan = plan_run(read_config(LoraConfig, run_toml("sd15", {"validation": SHARE})))
    assert (plan.pictures, plan.held_out, len(plan.measured)) == (4, 2, 2)
    _, events = run(train, tmp_path / "run", validation=SHARE)
    assert sum(event.images for event in events if isinstance(event, Step)) == 8
    assert [event.step for event in measured(events)] == list(range(1, plan.total_steps + 1))
    for event in measured(events):
        assert event.losses == {"balls": pytest.approx(event.mean)}
        assert list(event.levels) == ["125", "375", "625", "875"]
        assert sum(event.levels.values()) / 4 == pytest.approx(event.mean)
        assert not event.ema_losses and event.ema_mean is None


def test_another_seed_of_the_run_holds_out_the_same(run_toml: Callable[..., Path]) -> None:
    def held(seed: int, own: int) -> list[str]:
        changes = {"training": {"seed": seed}, "validation": {"share": 0.34, "seed": own}}
        return plan_run(read_config(LoraConfig, run_toml("sd15", changes))).measured

    assert held(1, 42) == held(2, 42)
    assert len({tuple(held(1, own)) for own in range(8)}) > 1


def test_one_picture_is_too_few(run_toml: Callable[..., Path], tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "0.png").write_bytes((pictures / "0.png").read_bytes())
    changes = {"concept": {"folder": str(tmp_path / "one")}, "validation": {"share": 0.5}}
    plan = plan_run(read_config(LoraConfig, run_toml("sd15", changes)))
    assert plan.held_out == 0 and any("no picture can be held out" in text for text in plan.warnings)


def test_levels_can_be_chosen(train: Train, tmp_path: Path) -> None:
    chosen = {"share": 0.34, "every": "never", "at": [900, 100, 570]}
    _, events = run(train, tmp_path / "run", validation=chosen, times={"name": "uniform", "first": 0, "end": 500})
    (only,) = measured(events)
    assert list(only.levels) == ["100", "570", "900"], "also beyond those that are trained"
    (last,) = [event.step for event in events if isinstance(event, Saved)]
    assert only.step == last


@pytest.mark.parametrize("levels", [[1000], [-1], [5, 5]])
def test_levels_that_are_none_are_told(levels: list[int]) -> None:
    _, problems = validate(LoraConfig, {"validation": {"at": levels}})
    assert "validation.at" in [problem.path for problem in problems]


def test_the_best_step_is_marked_and_its_file_is_kept(train: Train, tmp_path: Path) -> None:
    validation = {**SHARE, "save_best": True}
    lora, events = run(train, tmp_path / "run", validation=validation, saving={"every": "1 step"})
    means = [event.mean or 0.0 for event in measured(events)]
    lowest = [min(means[: index + 1]) for index in range(len(means))]
    expected = [
        mean == low and low not in means[:index] for index, (mean, low) in enumerate(zip(means, lowest, strict=True))
    ]
    assert [event.best for event in measured(events)] == expected
    best = [event.step for event in measured(events) if event.best]
    assert [event.step for event in events if isinstance(event, Saved) and event.why == "best"] == best
    output = tmp_path / "run" / "output"
    last = lora if best[-1] == len(means) else load_file(next(output.glob(f"*-step{best[-1]:08d}.safetensors")))
    kept = load_file(output / "my_lora-best.safetensors")
    assert kept.keys() == last.keys() and all(torch.equal(kept[name], tensor) for name, tensor in last.items())


def test_measuring_changes_nothing(train: Train, tmp_path: Path) -> None:
    """With dropout, and an average that is swapped in and out."""
    more = {"networks": [{"name": "lora", "rank": 4, "alpha": 4, "dropout": 0.2}], "ema": {"where": "device"}}
    often, events = run(train, tmp_path / "often", validation=SHARE, **more)
    seldom, plain = run(train, tmp_path / "seldom", validation={**SHARE, "every": "never"}, **more)
    assert [e.loss for e in events if isinstance(e, Step)] == [e.loss for e in plain if isinstance(e, Step)]
    assert all(torch.equal(often[name], tensor) for name, tensor in seldom.items())
    assert measured(events)[-1].mean == measured(plain)[-1].mean


def test_the_average_is_measured_too(train: Train, tmp_path: Path) -> None:
    """An average that forgets at once is the weights; one that remembers isn't, and decides what is best."""
    forgetful = {"where": "device", "decay": 0.0}
    _, events = run(train, tmp_path / "forgetful", validation=SHARE, ema=forgetful)
    assert all(event.ema_losses == event.losses and event.ema_mean == event.mean for event in measured(events))
    _, plain = run(train, tmp_path / "plain", validation=SHARE)
    _, events = run(train, tmp_path / "slow", validation=SHARE, ema={"where": "cpu", "decay": 0.9, "warmup": False})
    assert [event.mean for event in measured(events)] == [event.mean for event in measured(plain)]
    means = [event.ema_mean or 0.0 for event in measured(events)]
    assert means != [event.mean for event in measured(events)]
    assert [event.best for event in measured(events)] == [mean < min([9, *means[:i]]) for i, mean in enumerate(means)]


@pytest.mark.slow
@pytest.mark.parametrize("name", registry("networks").names())
def test_measuring_changes_nothing_with_any_network(name: str, make_run: Callable[..., Run]) -> None:
    """Nor does an average that is swapped in and out: two steps with both between them, and two without."""
    network = {"name": name} | ({"token": "ohx", "initial_text": "ball"} if name == "embedding" else {})
    changes = {"networks": [network], "ema": {"where": "device", "decay": 0.5}, "validation": {"share": 0.34}}
    ends = []
    for measures in (True, False):
        run, progress = make_run(changes), Progress()
        for _ in range(2):
            one_step(run, progress)
            if measures:
                validate_run(run, progress)
        assert sum(isinstance(event, Validated) for event in run.told) == 2 * measures  # type: ignore[attr-defined]
        ends.append([parameter.detach().clone() for parameter in run.parameters])
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))
