"""Losses, weightings and weights of whole runs, and those that a base can't have."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import SettingsError
from core.training.events import Finished
from core.training.loop import Progress, train_step
from core.training.setup import Run

MakeRun = Callable[..., Run]


def test_a_picture_counts_by_its_concepts_weight_and_its_own(make_run: MakeRun, pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "weighted"
    folder.mkdir()
    for file in pictures.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "loss_weights.toml").write_text('"0.png" = 0.25\n"2.png" = 0\n')
    run = make_run({"concept": {"folder": str(folder), "loss_weight": 2.0}})
    weights = {
        name: weight
        for step in range(run.plan.steps_per_epoch(0))
        for batch in run.batches.step(0, step)
        for name, weight in zip(batch.names, batch.weights.tolist(), strict=True)
    }
    assert {Path(name).name: weight for name, weight in weights.items()} == {
        "0.png": 0.5, "1.png": 2.0, "2.png": 0.0, "3.png": 2.0, "4.png": 2.0, "5.png": 2.0,
    }  # fmt: skip


# -- what a base can and can't have


@pytest.mark.parametrize(
    ("weighting", "base", "said"),
    [
        ("sigma", {}, "for flow models, and the base is a diffusion model"),
        ("scale_v_prediction", {}, "for models that predict v-prediction; this one predicts epsilon"),
        ("v_prediction_like", {"prediction": "v_prediction"}, "for models that predict epsilon"),
        ("debiased", {"zero_terminal_snr": "yes"}, "infinite at the last time"),
    ],
)
def test_a_weighting_that_the_base_cant_have_is_refused(
    make_run: MakeRun, weighting: str, base: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError, match=rf"weightings\.0\.name.*{said}"):
        make_run({"base": base, "weightings": [{"name": weighting}]})


def test_a_generalised_offset_is_refused_where_the_last_time_is_noise_alone(make_run: MakeRun) -> None:
    noise = {"noise_offset": 0.1, "generalized_offset_noise": True}
    with pytest.raises(SettingsError, match=r"noise\.generalized_offset_noise.*zero terminal SNR"):
        make_run({"noise": noise, "base": {"zero_terminal_snr": "yes", "prediction": "v_prediction"}})


def test_without_the_last_time_it_is_finite(make_run: MakeRun) -> None:
    times = {"name": "uniform", "end": 999}
    run = make_run({"base": {"zero_terminal_snr": "yes"}, "weightings": [{"name": "debiased"}], "times": times})
    result = train_step(run, Progress())
    assert math.isfinite(result.loss)


def test_a_run_learns_with_all_losses_and_noises_at_once(train: Callable[..., Any]) -> None:
    losses = [{"name": name} for name in ("l1", "huber", "smooth_l1", "log_cosh")]
    noise = {"noise_offset": 0.1, "multires_noise_iterations": 3, "ip_noise_gamma": 0.1}
    times = {"name": "beta", "alpha": 2.0, "beta": 1.5, "strata": 4, "dynamic_shift": "flux"}
    _, event = train(changes={"losses": losses, "noise": noise, "times": times, "training": {"epochs": 1}})
    assert isinstance(event, Finished)
