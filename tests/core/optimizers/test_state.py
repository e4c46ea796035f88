"""An optimizer's state comes back in its own dtype."""

from __future__ import annotations

import copy

import torch

from core.optimizers._state import restore_state
from core.optimizers.adafactor import Adafactor
from core.optimizers.adamw8bit import AdamW8bit
from core.settings.bases import OptimizerConfig


def _stepped(config: OptimizerConfig, weight: torch.nn.Parameter) -> torch.optim.Optimizer:
    optimizer = config.build([{"params": [weight], "lr": 1e-3}])
    for step in range(3):
        weight.grad = torch.full_like(weight, 0.1 + step / 7)
        optimizer.step()
    return optimizer


def _weight(*shape: int) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.ones(shape, dtype=torch.bfloat16))


def test_fp32_state_of_bf16_weights_keeps_its_digits() -> None:
    old, new = _weight(4, 8), _weight(4, 8)
    state = copy.deepcopy(_stepped(Adafactor(), old).state_dict())
    plain = Adafactor().build([{"params": [new], "lr": 1e-3}])
    plain.load_state_dict(copy.deepcopy(state))
    assert plain.state[new]["exp_avg_sq_row"].dtype == torch.bfloat16, "torch casts: what restore_state is there for"

    restored = Adafactor().build([{"params": [new], "lr": 1e-3}])
    restore_state(restored, state)
    row = restored.state[new]["exp_avg_sq_row"]
    assert row.dtype == torch.float32
    assert torch.equal(row, state["state"][0]["exp_avg_sq_row"])


def test_the_8_bit_state_stays_8_bits() -> None:
    old, new = _weight(64, 64), _weight(64, 64)
    state = copy.deepcopy(_stepped(AdamW8bit(), old).state_dict())
    restored = AdamW8bit().build([{"params": [new], "lr": 1e-3}])
    restore_state(restored, state)
    assert restored.state[new]["state1"].dtype == torch.uint8
    assert restored.state[new]["absmax1"].dtype == torch.float32


def test_what_belongs_to_the_groups_comes_back() -> None:
    from core.optimizers.prodigy import Prodigy

    weight = torch.nn.Parameter(torch.ones(4, 8))
    optimizer = Prodigy().build([{"params": [weight], "lr": 1.0}])
    for step in range(5):
        weight.grad = torch.full_like(weight, 1.0 + step)
        optimizer.step()
    assert optimizer.param_groups[0]["d"] > 1e-6, "it has found a rate"
    fresh = Prodigy().build([{"params": [torch.nn.Parameter(torch.ones(4, 8))], "lr": 1.0}])
    restore_state(fresh, copy.deepcopy(optimizer.state_dict()))
    for name in ("d", "d_max", "d_numerator", "k"):
        assert fresh.param_groups[0][name] == optimizer.param_groups[0][name]


def test_an_optimizer_that_made_no_step_yet() -> None:
    weight = _weight(4, 8)
    state = Adafactor().build([{"params": [weight], "lr": 1e-3}]).state_dict()
    fresh = Adafactor().build([{"params": [weight], "lr": 1e-3}])
    restore_state(fresh, state)
    assert not fresh.state
