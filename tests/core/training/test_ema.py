"""The average of the weights, against diffusers' EMAModel and the formula in float64, alone and in runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file
from torch import nn

from core.config.lora import LoraConfig
from core.config.sections import Ema as EmaSettings
from core.errors import WorkspaceError
from core.manager.training_executor import Job
from core.registry import registry
from core.settings.checks import validate
from core.training import ema as module
from core.training.ema import Ema
from core.training.events import Event, Finished, Saved

Train = Callable[..., tuple[Job, Event | None]]


def settings(**changes: Any) -> EmaSettings:
    return EmaSettings.model_validate({"where": "device", "decay": 0.9, **changes})


def parameters() -> list[nn.Parameter]:
    torch.manual_seed(1)
    return [nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(5)), nn.Parameter(torch.randn(2, 2, 1, 1))]


def walk(weights: list[nn.Parameter], steps: int, *averages: Any) -> list[list[torch.Tensor]]:
    """Change the weights at random; what they were after each step."""
    past = []
    for step in range(1, steps + 1):
        with torch.no_grad():
            for weight in weights:
                weight += torch.randn_like(weight)
        for take_in in averages:
            take_in(step)
        past.append([weight.detach().clone() for weight in weights])
    return past


@pytest.mark.parametrize("where", ["device", "cpu"])
@pytest.mark.parametrize("decay", [0.3, 0.9, 0.9999])
def test_with_warm_up_it_is_diffusers(where: str, decay: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 13)  # so that several chunks are needed
    weights = parameters()
    ours, theirs = Ema(weights, settings(where=where, decay=decay)), EMAModel(weights, decay=decay)
    for step in range(1, 41):
        walk(weights, 1, lambda _, now=step: ours.after_step(now), lambda _: theirs.step(weights))
        for one, other in zip(ours.state()["average"], theirs.shadow_params, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_the_decay_grows_as_in_diffusers() -> None:
    weights = parameters()
    ours, theirs = Ema(weights, settings(decay=0.5)), EMAModel(weights, decay=0.5)
    for step in range(1, 15):
        assert ours.decay == pytest.approx(theirs.get_decay(step), abs=1e-12)
        ours.after_step(step)


def test_without_warm_up_every_weight_counts_by_its_age() -> None:
    """sum of (1 - d) d^age w, and d^n of the first weights, in float64."""
    weights = parameters()
    first = [weight.detach().clone() for weight in weights]
    ema = Ema(weights, settings(decay=0.8, warmup=False))
    past = walk(weights, 12, ema.after_step)
    for index, average in enumerate(ema.state()["average"]):
        expected = 0.8**12 * first[index].double()
        for age, then in enumerate(reversed(past)):
            expected += 0.2 * 0.8**age * then[index].double()
        torch.testing.assert_close(average.double(), expected, rtol=1e-6, atol=1e-6)


def test_only_every_so_many_steps_count() -> None:
    weights, copies = parameters(), parameters()
    sparse, every = Ema(weights, settings(update_every=3)), Ema(copies, settings())
    past = walk(weights, 11, sparse.after_step)
    for step, then in enumerate([past[2], past[5], past[8]], start=1):
        for copy, weight in zip(copies, then, strict=True):
            copy.data.copy_(weight)
        every.after_step(step)
    for one, other in zip(sparse.state()["average"], every.state()["average"], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("where", ["device", "cpu"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_swapped_in_and_out_again(where: str, dtype: torch.dtype) -> None:
    weights = [nn.Parameter(weight.detach().to(dtype)) for weight in parameters()]
    ema = Ema(weights, settings(where=where))
    walk(weights, 5, ema.after_step)
    places, plain = [weight.data_ptr() for weight in weights], [weight.detach().clone() for weight in weights]
    with pytest.raises(ZeroDivisionError), ema.swapped_in():
        for weight, average in zip(weights, ema.state()["average"], strict=True):
            assert weight.dtype == dtype and average.dtype == torch.float32
            assert torch.equal(weight.detach(), average.to(dtype)) and not torch.equal(weight.detach(), plain[0])
        raise ZeroDivisionError
    assert [weight.data_ptr() for weight in weights] == places
    assert all(torch.equal(weight.detach(), before) for weight, before in zip(weights, plain, strict=True))


def test_it_goes_on_exactly_and_only_with_its_own_weights() -> None:
    weights = parameters()
    whole = Ema(weights, settings())
    walk(weights, 7, whole.after_step)
    again = Ema(parameters(), settings())
    again.load_state(whole.state())
    again._parameters = whole._parameters
    walk(weights, 3, lambda step: whole.after_step(step + 7), lambda step: again.after_step(step + 7))
    assert all(torch.equal(a, b) for a, b in zip(whole.state()["average"], again.state()["average"], strict=True))
    assert whole.decay == again.decay == pytest.approx(0.55)  # (1 + 10) / (10 + 10)
    with pytest.raises(WorkspaceError, match="of another network"):
        Ema(parameters()[:2], settings()).load_state(whole.state())


def test_optimizers_that_average_themselves_take_no_second_average() -> None:
    name = next(name for name, cls in registry("optimizers").all().items() if cls.schedule_free is True)
    _, problems = validate(LoraConfig, {"ema": {"where": "cpu"}, "optimizer": {"name": name}})
    (problem,) = [problem for problem in problems if problem.path == "ema.where"]
    assert "optimizer.name" in problem.message and problem.replacement == {"ema.where": "off"}


# -- in runs


def files_of(train: Train, ema: dict[str, Any], workspace: Path) -> dict[str, dict[str, torch.Tensor]]:
    changes = {"ema": ema, "saving": {"workspace": str(workspace)}, "parts": {"denoiser": {"learning_rate": 1e-2}}}
    job, ending = train("sd15", changes)
    assert isinstance(ending, Finished), ending
    (saved,) = [event for event in job.events()[0] if isinstance(event, Saved)]
    assert {saved.path, *saved.beside} == {str(path) for path in (workspace / "output").glob("*.safetensors")}
    return {Path(path).stem: load_file(path) for path in (saved.path, *saved.beside)}


def test_a_run_saves_both_and_learns_the_same(train: Train, tmp_path: Path) -> None:
    """The run's average is that of the weights after each step, which runs of 1, 2, ... steps leave behind."""
    plain = files_of(train, {}, tmp_path / "plain")["my_lora"]
    found = files_of(train, {"where": "device", "decay": 0.7}, tmp_path / "device")
    assert found.keys() == {"my_lora", "my_lora-no-ema"}
    assert all(torch.equal(found["my_lora-no-ema"][name], tensor) for name, tensor in plain.items())
    apart = {name: (found["my_lora"][name] - tensor).abs().max() for name, tensor in plain.items()}
    assert all(apart[name] > 0 for name in apart if name.endswith("weight"))
    on_cpu = files_of(train, {"where": "cpu", "decay": 0.7, "save": "ema"}, tmp_path / "cpu")
    assert on_cpu.keys() == {"my_lora"}
    for name, tensor in found["my_lora"].items():
        torch.testing.assert_close(on_cpu["my_lora"][name], tensor, rtol=1e-6, atol=1e-7)
    only_plain = files_of(train, {"where": "cpu", "decay": 0.7, "save": "plain"}, tmp_path / "only plain")
    assert only_plain.keys() == {"my_lora"}
    assert all(torch.equal(only_plain["my_lora"][name], tensor) for name, tensor in plain.items())
