"""What is added up for curves, against the formulas, and that everyone who draws is given the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from core.manager.training_executor import Job
from core.training.curves import Curves, curves_of, pictures_of
from core.training.events import Event, Finished, Message, Sampled, Step, Validated

Train = Callable[..., tuple[Job, Event | None]]


def a_run(norms: dict[str, float] | None = None, taken: dict[str, float] | None = None, total: int = 100) -> Any:
    """What curves ask of a run, without its model."""
    return SimpleNamespace(
        total_steps=total,
        rates=SimpleNamespace(taken=lambda: taken or {}),
        network=SimpleNamespace(norms=lambda: norms or {}),
        ema=None,
    )


def test_the_smoothed_loss_is_a_mean_with_falling_weights() -> None:
    """sum of 0.98^age loss / sum of 0.98^age, in float64, written out."""
    losses = [0.9, 0.1, 0.5, 0.4, 0.7]
    curves = Curves(10)
    for count, loss in enumerate(losses, start=1):
        curves.add(loss, [loss], [0.5])
        weights = [0.98**age for age in reversed(range(count))]
        expected = sum(w * one for w, one in zip(weights, losses[:count], strict=True)) / sum(weights)
        assert curves.smooth_loss == pytest.approx(expected, rel=1e-12)


def test_losses_are_told_apart_by_noise_level_since_the_last_record() -> None:
    curves, run = Curves(2), a_run()
    curves.add(0.0, [1.0, 3.0, 5.0], [0.0, 0.0999, 0.1])
    assert curves.more(run, 1) == {"loss_by_level/000-100": 2.0, "loss_by_level/100-200": 5.0}
    curves.add(0.0, [7.0], [1.0])
    assert curves.more(run, 3) == {}
    curves.add(0.0, [9.0, 2.0], [0.95, 0.55])
    assert curves.more(run, 4) == {"loss_by_level/500-600": 2.0, "loss_by_level/900-1000": 8.0}
    assert curves.more(run, 6) == {}


def test_what_takes_time_is_only_asked_for_at_full_records() -> None:
    curves, asked = Curves(5), []
    run = a_run()
    run.network.norms = lambda: asked.append(1) or {"denoiser": 2.0}
    found = {step: curves.more(run, step) for step in range(1, 13)}
    assert [step for step, more in found.items() if more] == [1, 5, 10]
    assert len(asked) == 3
    assert curves.more(a_run(total=12), 12) == {} and curves.more(a_run({"a": 1.0}, total=12), 12) == {"norm/a": 1.0}


def test_curves_go_on_without_a_break() -> None:
    whole, first = Curves(10), Curves(10)
    for step in range(7):
        whole.add(step, [step], [step / 7])
        first.add(step, [step], [step / 7])
    again = Curves(10)
    again.load_state(first.state())
    for curves in (whole, again):
        curves.add(3.0, [3.0, 4.0], [0.3, 0.4])
    assert again.smooth_loss == whole.smooth_loss
    assert again.more(a_run(), 10) == whole.more(a_run(), 10)
    assert again.state() == whole.state()


def test_names_of_what_is_measured() -> None:
    event = Validated(
        step=3, losses={"cats": 0.5}, mean=0.4, levels={"125": 0.3}, ema_losses={"cats": 0.2}, ema_mean=0.1
    )
    assert curves_of(event) == {
        "loss/validation_step/cats": 0.5,
        "loss/validation_ema_step/cats": 0.2,
        "loss/validation_by_level/125": 0.3,
        "loss/validation_mean": 0.4,
        "loss/validation_ema_mean": 0.1,
    }
    assert curves_of(Message(text="hello")) == {} == pictures_of(event)
    drawn = Sampled(step=1, paths=["a.png", "b.png"], prompts=["a cat"] * 2, rows=["00", "00-no-ema"])
    assert pictures_of(drawn) == {"samples/00 a cat": "a.png", "samples/00-no-ema a cat": "b.png"}


def test_a_run_records_all_of_it(train: Train) -> None:
    """What TensorBoard reads back is what the events hold; the loss by level adds up to the loss."""
    changes = {
        "optimizer": {"name": "prodigy"},
        "parts": {"denoiser": {"learning_rate": 1.0}},
        "ema": {"where": "device"},
        "validation": {"share": 0.3},
        "training": {"train_batch_size": 3, "epochs": 5},
        "buckets": {"aspect_ratio_bucketing": False},
        "logging": {"tensorboard": True, "every_n_steps": 4},
    }
    job, ending = train("sd15", changes)
    assert isinstance(ending, Finished), ending
    steps = [event for event in job.events()[0] if isinstance(event, Step)]
    full = [event.step for event in steps if event.more]
    assert full == [step for step in range(1, len(steps) + 1) if step == 1 or step % 4 == 0 or step == len(steps)]
    first = steps[0].more
    levels = [value for name, value in first.items() if name.startswith("loss_by_level/")]
    assert min(levels) <= steps[0].loss <= max(levels)
    assert first["ema_decay"] == 0 and steps[3].more["ema_decay"] == pytest.approx(4 / 13)
    assert first["lr_taken/denoiser"] > 0 and first["lr_taken/denoiser"] != steps[0].learning_rates["denoiser"]
    assert any(name.startswith("norm/") for name in first)
    board = EventAccumulator(str(job.workspace / "tensorboard")).Reload()
    expected: dict[str, list[tuple[int, float]]] = {}
    for event in job.events()[0]:
        for name, value in curves_of(event).items():
            expected.setdefault(name, []).append((event.step, pytest.approx(value, rel=1e-6)))  # type: ignore[attr-defined]
    assert set(board.Tags()["scalars"]) == expected.keys()
    for name, curve in expected.items():
        assert [(point.step, point.value) for point in board.Scalars(name)] == curve


def test_how_often_is_recorded_changes_no_weight(train: Train, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    found = []
    for every in (1, 100):
        saving = {"workspace": str(tmp_path / str(every))}
        job, ending = train("sd15", {"saving": saving, "logging": {"every_n_steps": every}})
        assert isinstance(ending, Finished), ending
        losses = [event.loss for event in job.events()[0] if isinstance(event, Step)]
        found.append((losses, {name: tensor.tolist() for name, tensor in load_file(ending.path).items()}))
    assert found[0] == found[1]
