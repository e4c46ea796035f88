"""Schedules beside optimizers that do a schedule's work themselves."""

from __future__ import annotations

import pytest
import schedulefree
import torch

from core.config.lora import LoraConfig
from core.config.toml_file import set_values, to_data
from core.registry import registry
from core.schedules.constant import Constant
from core.settings.bases import OptimizerConfig
from core.settings.checks import check_all, validate

OPTIMIZERS: dict[str, type[OptimizerConfig]] = registry("optimizers").all()
SCHEDULE_FREE = [name for name, cls in OPTIMIZERS.items() if cls().averages_weights()]


def _problems(config: LoraConfig) -> list[str]:
    return [problem.path for problem in check_all(config) if problem.path.startswith("schedule")]


def _config(optimizer: OptimizerConfig, schedule: dict[str, object]) -> LoraConfig:
    config = LoraConfig.model_validate({"schedule": schedule})
    return config.model_copy(update={"optimizer": optimizer})


@pytest.mark.parametrize("name", SCHEDULE_FREE)
def test_a_falling_rate_beside_a_schedule_free_optimizer_is_replaced_by_a_click(name: str) -> None:
    config = _config(OPTIMIZERS[name](), {"name": "cosine", "warmup_steps": 7, "minimum": 0.1})
    (problem,) = config.schedule.check_optimizer(config.optimizer)
    assert problem.replacement and "optimizer.name" in problem.message
    solved, _ = validate(LoraConfig, set_values(to_data(config), problem.replacement, LoraConfig))
    assert solved is not None and solved.schedule == Constant(warmup_steps=7)
    assert _problems(solved) == []


def test_an_optimizer_that_keeps_its_own_rate_leaves_nothing_to_a_schedule() -> None:
    own = OPTIMIZERS["adafactor"](relative_step=True)  # type: ignore[call-arg]
    assert _problems(_config(own, {"name": "linear"})) == ["schedule.name"]
    assert _problems(_config(own, {"name": "constant", "warmup_steps": 3})) == ["schedule.name"]
    assert _problems(_config(own, {"name": "constant"})) == []
    assert _problems(_config(OPTIMIZERS["adafactor"](), {"name": "linear"})) == []


def test_an_optimizer_that_is_told_not_to_average_takes_a_falling_rate() -> None:
    plain = OPTIMIZERS["prodigy_plus_schedule_free"](use_schedulefree=False)  # type: ignore[call-arg]
    assert _problems(_config(plain, {"name": "cosine"})) == []


def test_plain_optimizers_take_every_schedule() -> None:
    for name in registry("schedules").names():
        assert _problems(_config(OPTIMIZERS["adamw"](), {"name": name})) == []


def test_our_warm_up_is_schedulefrees_own() -> None:
    """Its warm-up of n + 1 steps gives step s (from 0) the factor (s + 1) / (n + 1), as ours of n steps does."""
    start, data = torch.randn(8, generator=torch.Generator().manual_seed(1)), torch.linspace(-1, 1, 8)
    schedule, found = Constant(warmup_steps=9), []
    for own in (10, 0):
        weights = torch.nn.Parameter(start.clone())
        optimizer = schedulefree.AdamWScheduleFree([weights], lr=0.05, warmup_steps=own)
        optimizer.train()
        for step in range(30):
            if not own:
                optimizer.param_groups[0]["lr"] = 0.05 * schedule.factor(step, 30)
            optimizer.zero_grad()
            ((weights - data) ** 2).sum().backward()
            optimizer.step()
        optimizer.eval()
        found.append(weights.detach())
    assert torch.allclose(found[0], found[1], rtol=1e-6, atol=1e-7)
    assert not torch.allclose(found[0], start, atol=0.1)
