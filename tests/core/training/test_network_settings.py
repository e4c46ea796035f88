"""What a network's settings do in a real run: rules, rates, limits, first weights, and a file to go on from."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from core.training.curves import Curves
from core.training.events import Failed, Finished, Step, read_events
from core.training.loop import Progress, train_step
from core.training.setup import Run

Make = Callable[..., Run]
BOTH = {"denoiser": {"learning_rate": 1e-2}, "text_1": {"train": "yes", "learning_rate": 1e-3}}
RULES = [
    {"blocks": "IN00-IN11", "learning_rate_factor": 0.5},
    {"pattern": "attn2", "rank": 2},
    {"blocks": "TE00", "learning_rate": 3e-3},
    {"blocks": "OUT11", "train": False},
]


def lora(**settings: Any) -> dict[str, Any]:
    return {"networks": [{"name": "lora", "rank": 4, "alpha": 4.0, **settings}], "schedule": {"name": "constant"}}


def test_rules_and_ratios_give_the_optimizer_its_rates(train: Callable[..., Any]) -> None:
    job, end = train("sd15", lora(rules=RULES, lora_plus_ratio=4.0, lora_plus_text_ratio=2.0) | {"parts": BOTH})
    assert isinstance(end, Finished)
    (rates,) = {
        tuple(event.learning_rates.items())
        for event in read_events(job.workspace / "events.jsonl")[0]
        if isinstance(event, Step)
    }
    assert dict(rates) == pytest.approx(
        {
            "denoiser": 1e-2,
            "denoiser up": 4e-2,
            "denoiser rule 1": 5e-3,
            "denoiser rule 1 up": 2e-2,
            "text_1": 1e-3,
            "text_1 up": 2e-3,
            "text_1 rule 3": 3e-3,
            "text_1 rule 3 up": 6e-3,
        }
    )
    file = load_file(end.path)
    assert not any("up_blocks_3_attentions_2" in name for name in file)
    assert {len(tensor) for name, tensor in file.items() if "attn2" in name and "lora_down" in name} == {2}
    assert {len(tensor) for name, tensor in file.items() if "attn1" in name and "lora_down" in name} == {4}


def test_a_rule_that_matches_nothing_ends_the_run_with_its_words(train: Callable[..., Any]) -> None:
    _, end = train("sd15", lora(rules=[{"blocks": "IN12", "rank": 2}]))
    assert isinstance(end, Failed)
    assert "Rule 1: there are no blocks IN12" in end.what


def test_norms_are_held_and_told(make_run: Make) -> None:
    run, progress = make_run(lora(max_norm=0.05) | {"parts": {"denoiser": {"learning_rate": 0.1}}}), Progress()
    for _ in range(2):
        train_step(run, progress)
    network: Any = next(iter(run.network))  # type: ignore[call-overload]
    norms = [float(change.difference().detach().norm()) for _, change in network.changes()]
    assert max(norms) <= 0.05 * (1 + 1e-5)
    told = Curves(10).more(run, 1)
    assert told["norm/layers scaled down"] > 0
    assert told["norm/largest of the layers"] == pytest.approx(max(norms), rel=1e-5)
    assert told["norm/mean of the layers"] == pytest.approx(sum(norms) / len(norms), rel=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"initial": "pissa", "pissa_iterations": 2, "rank": 2},
        {"initial": "orthogonal", "rules": RULES, "lora_plus_ratio": 8.0},
        {"freeze_down": True, "max_norm": 0.5},
    ],
)
def test_a_run_goes_on_exactly(settings: dict[str, Any], make_run: Make) -> None:
    changes = lora(**settings) | {"parts": BOTH}
    whole, progress = make_run(changes), Progress()
    before = copy.deepcopy(whole.state(progress).network)
    for _ in range(2):
        train_step(whole, progress)
    state = copy.deepcopy(whole.state(progress))
    wanted = [train_step(whole, progress).loss for _ in range(2)]
    resumed, again = make_run(changes), Progress(**state.progress)
    resumed.restore(state)
    assert [train_step(resumed, again).loss for _ in range(2)] == wanted
    after, reached = resumed.state(again).network, whole.state(progress).network
    assert all(torch.equal(after[key], reached[key]) for key in reached)
    moved = {key for key in reached if not torch.equal(reached[key], before[key])}
    frozen = {key for key in reached if "first_" in key or (settings.get("freeze_down") and "lora_down" in key)}
    assert moved == reached.keys() - frozen


def test_one_seed_draws_one_network(make_run: Make) -> None:
    states = []
    for seed in (1, 1, 2):
        changes = lora(initial="pissa", pissa_iterations=1, rank=2) | {"training": {"seed": seed}}
        states.append(make_run(changes).state(Progress()).network)
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not all(torch.equal(states[0][key], states[2][key]) for key in states[0])


def test_a_run_begins_with_a_file_and_writes_it_again(train: Callable[..., Any], tmp_path: Path) -> None:
    """With a rate of next to nothing what is saved is what was read."""
    _, end = train("sd15", lora(rules=RULES) | {"parts": BOTH, "training": {"max_steps": 2}})
    first = tmp_path / "first.safetensors"
    Path(end.path).rename(first)
    rest = {"parts": {part: settings | {"learning_rate": 1e-30} for part, settings in BOTH.items()}}
    rest |= {"training": {"max_steps": 1}, "saving": {"workspace": str(tmp_path / "second")}}
    rules = [{"blocks": "OUT11", "train": False}]
    _, end = train("sd15", lora(weights=str(first), weights_rank=True, rank=9, rules=rules) | rest)
    assert isinstance(end, Finished), end
    again, whole = load_file(end.path), load_file(first)
    assert again.keys() == whole.keys()
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())


def test_a_run_does_not_begin_with_two_loras(train: Callable[..., Any], tmp_path: Path) -> None:
    job, end = train("sd15", lora() | {"training": {"max_steps": 1}})
    (backup,) = (job.workspace / "backups").iterdir()
    changes = lora(weights=end.path) | {"base": {"source": str(backup)}, "saving": {"workspace": str(tmp_path / "two")}}
    _, end = train("sd15", changes)
    assert isinstance(end, Failed)
    assert "networks.0.weights" in end.what and "base.source is a backup" in end.what


def test_loras_in_the_base_are_part_of_it(train: Callable[..., Any], make_run: Make, tmp_path: Path) -> None:
    """What a base with a LoRA inside predicts is what the run ended with that made the LoRA."""
    parts = {"parts": {part: settings | {"learning_rate": 0.05} for part, settings in BOTH.items()}}
    _, end = train("sd15", lora() | parts | {"training": {"max_steps": 2}})
    trained = make_run(lora(weights=end.path) | parts)
    baked = make_run({"base": {"loras": [{"file": end.path, "strength": 1.0}]}})
    plain = make_run({})
    x, times = torch.randn(2, 4, 8, 8), torch.tensor([10, 500])
    captions = ["a ball", "a bowl"]
    seen = []
    for run in (trained, baked, plain):
        for module in run.model.parts.values():
            module.eval()
        if "text_1" not in run.model.parts:
            run.model.parts["text_1"] = run.base.load_part(run.config, "text_1", torch.float32).parts["text_1"]
        told = torch.stack([one["hidden"] for one in run.family.encode_text(run.model, "text_1", captions)])
        unet: Any = run.model.parts["denoiser"]
        with torch.no_grad():
            seen.append(unet(x, times, encoder_hidden_states=told).sample)
    torch.testing.assert_close(seen[0], seen[1], rtol=1e-3, atol=1e-4)
    assert (seen[0] - seen[2]).abs().max() > 1e-2
