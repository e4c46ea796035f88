"""torch's optimizers: each setting reaches torch, and steps are those of the formulas."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

from core.optimizers.adagrad import Adagrad
from core.optimizers.adam import Adam
from core.optimizers.adamw import AdamW
from core.optimizers.lamb import Lamb
from core.optimizers.lars import Lars
from core.optimizers.rmsprop import RMSprop
from core.optimizers.sgd import SGD
from core.settings.bases import OptimizerConfig

GRADIENTS = ([3.0, -1.0], [0.5, 2.0], [-4.0, 1.0])


def _moved(config: OptimizerConfig, rate: float) -> torch.Tensor:
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = config.build([{"params": [weight], "lr": rate}])
    for gradient in GRADIENTS:
        weight.grad = torch.tensor(gradient)
        optimizer.step()
    return weight.detach().double()


def _by_hand(step: Any) -> torch.Tensor:
    weight = torch.tensor([1.0, -2.0], dtype=torch.float64)
    for number, gradient in enumerate(GRADIENTS, start=1):
        weight = step(number, weight, torch.tensor(gradient, dtype=torch.float64))
    return weight


@pytest.mark.parametrize("decoupled", [False, True], ids=["adam", "adamw"])
def test_adams_steps_by_hand(decoupled: bool) -> None:
    """Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2: where the decay goes."""
    b1, b2, eps, decay, rate = 0.8, 0.95, 1e-3, 0.1, 0.05
    m = v = torch.zeros(2, dtype=torch.float64)

    def step(number: int, weight: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        nonlocal m, v
        g = gradient if decoupled else gradient + decay * weight
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        shrunk = weight * (1 - rate * decay) if decoupled else weight
        return shrunk - rate * (m / (1 - b1**number)) / ((v / (1 - b2**number)).sqrt() + eps)

    config = (AdamW if decoupled else Adam)(betas=[b1, b2], eps=eps, weight_decay=decay)
    torch.testing.assert_close(_moved(config, rate), _by_hand(step), rtol=1e-5, atol=1e-6)


def test_amsgrad_divides_by_the_greatest() -> None:
    """Reddi et al. 2018, algorithm 2, with the correction of torch: the greatest v counts, as if it were the latest."""
    b1, b2, rate = 0.9, 0.5, 0.05
    m = v = most = torch.zeros(2, dtype=torch.float64)

    def step(number: int, weight: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        nonlocal m, v, most
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        most = torch.maximum(most, v)
        return weight - rate * (m / (1 - b1**number)) / ((most / (1 - b2**number)).sqrt() + 1e-8)

    config = AdamW(betas=[b1, b2], weight_decay=0.0, amsgrad=True)
    torch.testing.assert_close(_moved(config, rate), _by_hand(step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgds_steps_by_hand(nesterov: bool) -> None:
    """Sutskever et al. 2013 as torch writes it: b = mu b + g, and a step along b, or along g + mu b."""
    mu, decay, rate = 0.9, 0.1, 0.05
    b = None

    def step(number: int, weight: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        nonlocal b
        g = gradient + decay * weight
        b = g if b is None else mu * b + g
        return weight - rate * (g + mu * b if nesterov else b)

    config = SGD(momentum=mu, nesterov=nesterov, weight_decay=decay)
    torch.testing.assert_close(_moved(config, rate), _by_hand(step), rtol=1e-5, atol=1e-6)


def test_dampening_makes_fresh_gradients_count_less() -> None:
    b = None

    def step(number: int, weight: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        nonlocal b
        b = g if b is None else 0.9 * b + (1 - 0.25) * g
        return weight - 0.05 * b

    config = SGD(momentum=0.9, dampening=0.25)
    torch.testing.assert_close(_moved(config, 0.05), _by_hand(step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("centered", [False, True])
def test_rmsprops_steps_by_hand(centered: bool) -> None:
    """Hinton's lecture 6e; Graves 2013, equations 38 to 40, for the centred one."""
    alpha, mu, rate, eps = 0.8, 0.5, 0.05, 1e-3
    v = mean = b = torch.zeros(2, dtype=torch.float64)

    def step(number: int, weight: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        nonlocal v, mean, b
        v, mean = alpha * v + (1 - alpha) * g * g, alpha * mean + (1 - alpha) * g
        b = mu * b + g / ((v - mean * mean if centered else v).sqrt() + eps)
        return weight - rate * b

    config = RMSprop(alpha=alpha, momentum=mu, centered=centered, eps=eps)
    torch.testing.assert_close(_moved(config, rate), _by_hand(step), rtol=1e-5, atol=1e-6)


def test_adagrads_steps_by_hand() -> None:
    """Duchi et al. 2011, with torch's decay of the rate."""
    total, rate, slower = torch.full((2,), 0.1, dtype=torch.float64), 0.05, 0.5

    def step(number: int, weight: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        nonlocal total
        total = total + g * g
        return weight - rate / (1 + (number - 1) * slower) * g / (total.sqrt() + 1e-10)

    config = Adagrad(lr_decay=slower, initial_accumulator_value=0.1)
    torch.testing.assert_close(_moved(config, rate), _by_hand(step), rtol=1e-5, atol=1e-6)


def test_adagrads_sum_of_bf16_weights_is_fp32() -> None:
    """It begins before the first step, for which the weights become fp32."""
    weight = torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    optimizer = Adagrad().build([{"params": [weight], "lr": 0.1}])
    assert optimizer.state[weight]["sum"].dtype == torch.float32


def test_lambs_steps_by_hand() -> None:
    """You et al. 2020, algorithm 2 without the corrections, as the paper's version 3: as long as the weights are."""
    b1, b2, eps, rate = 0.9, 0.999, 1e-6, 0.05
    m = v = torch.zeros(2, dtype=torch.float64)

    def step(number: int, weight: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        nonlocal m, v
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        update = m / (v.sqrt() + eps)
        return weight - rate * update * weight.norm() / (update.norm() + eps)

    torch.testing.assert_close(_moved(Lamb(), rate), _by_hand(step), rtol=1e-5, atol=1e-6)


def test_lars_steps_by_hand() -> None:
    """You et al. 2017, algorithm 1, of a matrix: trust |w| / (|g| + decay |w|), then momentum."""
    rate, trust, mu, decay = 2.0, 0.1, 0.9, 0.01
    weight = torch.nn.Parameter(torch.tensor([[1.0, -2.0]]))
    optimizer = Lars(trust_coefficient=trust, weight_decay=decay).build([{"params": [weight], "lr": rate}])
    w, b = torch.tensor([[1.0, -2.0]], dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
    for gradient in GRADIENTS:
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        g = torch.tensor([gradient], dtype=torch.float64)
        b = mu * b + trust * w.norm() / (g.norm() + decay * w.norm()) * (g + decay * w)
        w = w - rate * b
    torch.testing.assert_close(weight.detach().double(), w, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("config", [Adam(), AdamW(), SGD(), RMSprop(), Adagrad()], ids=lambda config: config.name)
def test_every_argument_of_torch_is_a_setting_or_only_changes_how_it_is_computed(config: OptimizerConfig) -> None:
    cls = type(config.build([{"params": [torch.nn.Parameter(torch.ones(2))], "lr": 0.1}]))
    how = {"foreach", "fused", "capturable", "differentiable", "maximize", "decoupled_weight_decay"}
    assert set(inspect.signature(cls).parameters) - {"params", "lr"} - how == set(type(config).model_fields) - {"name"}


@pytest.mark.parametrize("config", [Adam(), AdamW(), SGD(), RMSprop(), Adagrad()], ids=lambda config: config.name)
def test_the_defaults_are_torchs(config: OptimizerConfig) -> None:
    groups = [{"params": [torch.nn.Parameter(torch.ones(2))], "lr": 0.1}]
    ours = config.build(groups).param_groups[0]
    cls: Any = type(config.build(groups))
    theirs = cls(groups).param_groups[0]
    assert {key: value for key, value in ours.items() if key not in ("params", "fused")} == {
        key: value for key, value in theirs.items() if key not in ("params", "fused")
    }


@pytest.mark.parametrize(
    ("settings", "path"),
    [({"nesterov": True}, "nesterov"), ({"dampening": 0.1}, "dampening")],
)
def test_what_needs_momentum_is_a_problem_without(settings: dict[str, Any], path: str) -> None:
    assert [problem.path for problem in SGD(**settings).check()] == [path]
    assert [problem.path for problem in Lars(momentum=0.0, **settings).check()] == [path]


def test_nesterov_with_dampening_is_a_problem() -> None:
    assert [p.path for p in SGD(nesterov=True, momentum=0.9, dampening=0.1).check()] == ["dampening"]
