"""Every optimizer learns, and goes on after a restart exactly where it was."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from core.optimizers._state import restore_state
from core.registry import registry

OPTIMIZERS = registry("optimizers").all()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Task:
    """A low-rank update to be learned: `up @ down` shall become `goal`. As in a LoRA, `up` begins at zero.

    8 x 600 weights are more than the 4096 from which bitsandbytes uses 8 bits, and 40 x 8 are fewer.
    """

    def __init__(self, dtype: torch.dtype, rate: float) -> None:
        generator = torch.Generator().manual_seed(7)
        self.goal = torch.randn(40, 600, generator=generator).to(dtype)
        self.down = torch.nn.Parameter((torch.randn(8, 600, generator=generator) / 8).to(dtype))
        self.up = torch.nn.Parameter(torch.zeros(40, 8, dtype=dtype))
        self.groups: list[dict[str, Any]] = [
            {"params": [self.down], "lr": rate, "name": "down"},
            {"params": [self.up], "lr": rate, "name": "up"},
        ]

    def train(self, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
        losses = []
        for _ in range(steps):
            optimizer.zero_grad()
            loss = (self.up @ self.down - self.goal).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    def weights(self) -> list[torch.Tensor]:
        return [self.down.detach().clone(), self.up.detach().clone()]


def _rate(name: str) -> float:
    return 1.0 if name == "prodigy" else 1e-2


def _through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_goes_on_bit_for_bit_after_a_restart(name: str, dtype: torch.dtype) -> None:
    config = OPTIMIZERS[name]()
    task = Task(dtype, _rate(name))
    optimizer = config.build(task.groups)
    losses = task.train(optimizer, 40)  # Prodigy needs some to find its rate
    assert losses[-1] < 0.9 * losses[0], losses
    kept, state = task.weights(), _through_a_file(optimizer.state_dict())
    task.train(optimizer, 5)
    expected = task.weights()
    assert not torch.equal(kept[0], expected[0]), "the steps that follow must change something"

    again = Task(dtype, _rate(name))
    with torch.no_grad():
        again.down.copy_(kept[0])
        again.up.copy_(kept[1])
    resumed = config.build(again.groups)
    restore_state(resumed, state)
    assert _dtypes(resumed) == _dtypes(optimizer)
    again.train(resumed, 5)
    for weight, wanted in zip(again.weights(), expected, strict=True):
        assert torch.equal(weight, wanted)


def _dtypes(optimizer: torch.optim.Optimizer) -> list[dict[str, torch.dtype]]:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return [
        {key: value.dtype for key, value in optimizer.state[parameter].items() if isinstance(value, torch.Tensor)}
        for parameter in parameters
    ]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_rate_of_zero_leaves_the_weights(name: str) -> None:
    """The last step of a schedule may have the rate 0."""
    config = OPTIMIZERS[name]()
    task = Task(torch.float32, _rate(name))
    optimizer = config.build(task.groups)
    task.train(optimizer, 2)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = task.weights()
    task.train(optimizer, 1)
    for weight, wanted in zip(task.weights(), before, strict=True):
        assert torch.equal(weight, wanted)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_states_its_memory(name: str) -> None:
    """`state_bytes_per_weight` is that of a tensor of a usual LoRA, to a tenth (and to half a byte)."""
    cls = OPTIMIZERS[name]
    weight = torch.nn.Parameter(torch.randn(16, 768, generator=torch.Generator().manual_seed(1)))
    weight.grad = torch.ones_like(weight)
    optimizer = cls().build([{"params": [weight], "lr": _rate(name)}])
    optimizer.step()
    shared = {"qmap1", "qmap2"}  # bitsandbytes' tables, one for all tensors
    tensors = [v for k, v in optimizer.state[weight].items() if isinstance(v, torch.Tensor) and k not in shared]
    measured = sum(tensor.numel() * tensor.element_size() for tensor in tensors) / weight.numel()
    assert measured == pytest.approx(cls.state_bytes_per_weight, rel=0.1, abs=0.5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_works_where_its_library_is_installed_and_names_a_replacement_that_always_does(name: str) -> None:
    cls = OPTIMIZERS[name]
    assert cls.availability("cpu").works
    assert OPTIMIZERS[getattr(cls, "instead", "adamw")].availability("cpu").works
