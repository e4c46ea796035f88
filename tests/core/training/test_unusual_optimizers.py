"""Optimizers that split groups, look for their rate, or keep packed state, in real runs that are taken up again."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from core.registry import registry
from core.training.loop import Progress, train_step
from core.training.setup import Run

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "dadapt_adam": {"d0": 1e-4},
    "prodigy_plus_schedule_free": {"d0": 1e-4},
    "schedule_free_adamw": {},
    "adamw_adv": {"nnmf_factor": True, "kourkoutas_beta": True},
    "came8bit": {"min_8bit_size": 64},
    "muon": {"adam_groups": "text_1"},
    "prodigy_adv": {"d0": 1e-4},
    "soap": {},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_goes_on_exactly(name: str, make_run: Callable[..., Run]) -> None:
    rate = 1.0 if registry("optimizers").get(name).usual_rate == 1.0 else 1e-3
    parts = {"denoiser": {"learning_rate": rate}, "text_1": {"train": "yes", "learning_rate": rate}}
    changes = {
        "optimizer": {"name": name, **OPTIMIZERS[name]},
        "parts": parts,
        "networks": [{"name": "lora", "rank": 4}],
        "schedule": {"name": "constant"},
    }
    whole, progress = make_run(changes), Progress()
    first = [train_step(whole, progress) for _ in range(3)]
    assert {"denoiser", "text_1"} == {told.split()[0] for told in first[0].learning_rates}
    with whole.stepping.evaluating():  # a sample is drawn
        pass
    state = copy.deepcopy(whole.state(progress))  # as a backup's files would have it
    wanted = [train_step(whole, progress).loss for _ in range(3)]

    resumed, again = make_run(changes), Progress(**state.progress)
    resumed.restore(state)
    assert [train_step(resumed, again).loss for _ in range(3)] == wanted
    after, reached = resumed.state(again).network, whole.state(progress).network
    assert all(torch.equal(after[key], reached[key]) for key in reached)
    assert any(not torch.equal(after[key], state.network[key]) for key in reached)
