"""Optimizers that find the rate, with networks whose weights learn at several."""

from __future__ import annotations

from typing import Any

import pytest

from core.config.lora import LoraConfig
from core.registry import registry
from core.settings.checks import validate


def _problems(optimizer: dict[str, Any], network: dict[str, Any]) -> list[str]:
    data = {"optimizer": optimizer, "networks": [{"name": "lora"} | network]}
    config, problems = validate(LoraConfig, data)
    assert config is not None, problems
    return [problem.path for problem in problems if problem.path.startswith("networks")]


@pytest.mark.parametrize("name", ["prodigy", "dadapt_adam", "dadapt_lion"])
@pytest.mark.parametrize(
    ("network", "path"),
    [
        ({"lora_plus_ratio": 4.0}, "networks.0.lora_plus_ratio"),
        ({"lora_plus_text_ratio": 4.0}, "networks.0.lora_plus_text_ratio"),
        ({"rules": [{"blocks": "MID", "learning_rate": 1.0}]}, "networks.0.rules.0.learning_rate"),
        ({"rules": [{"blocks": "MID", "learning_rate_factor": 0.5}]}, "networks.0.rules.0.learning_rate_factor"),
    ],
)
def test_one_rate_for_all(name: str, network: dict[str, Any], path: str) -> None:
    assert _problems({"name": name}, network) == [path]
    assert not _problems({"name": name}, {})
    assert not _problems({"name": "adamw"}, network)


def test_with_a_rate_for_each_group_they_go_together() -> None:
    network = {"lora_plus_ratio": 4.0}
    assert not _problems({"name": "prodigy_plus_schedule_free"}, network)


def test_what_says_that_it_needs_one_rate_does() -> None:
    """The libraries: some refuse other rates, the others don't look at them."""
    import torch

    for name, cls in registry("optimizers").all().items():
        config = cls()
        if not config.needs_one_rate():
            continue
        moved = []
        for second in (1.0, 0.5):
            weights = [torch.nn.Parameter(torch.ones(4, 4)) for _ in range(2)]
            rates = (1.0, second)
            groups = [
                {"params": [weight], "lr": rate, "name": part, "part": part}
                for weight, rate, part in zip(weights, rates, ("denoiser", "text_1"), strict=True)
            ]
            optimizer = config.build(groups)
            try:
                for step in range(4):
                    for weight in weights:
                        weight.grad = torch.full_like(weight, 1.0 + step)
                    optimizer.step()
            except RuntimeError as error:
                assert "different lr" in str(error), name
                moved.append(moved[0])
                continue
            moved.append((weights[1].detach() - 1).abs().max().item())
        assert moved[0] == moved[1] > 0, name
