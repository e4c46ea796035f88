"""From gradients to weights: fused equals plain, nothing not finite is taken, small steps add up in bf16."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core.registry import registry
from core.training.stepping import FusedStep, PlainStep, Rounding, as_fp32, stochastically_rounded


def small_model(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2)).to(dtype)


def groups_of(model: nn.Module) -> list[dict[str, Any]]:
    weights = list(model.parameters())
    return [{"params": weights[:3], "lr": 1e-2, "name": "a"}, {"params": weights[3:], "lr": 3e-3, "name": "b"}]


def walk(model: nn.Module, stepping: Any, steps: int = 5) -> list[float]:
    """A few steps down; the gradients' norms."""
    norms = []
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        inputs = torch.randn(4, 6, generator=generator).to(next(model.parameters()).dtype)
        stepping.begin(step)
        (model(inputs) - 1).square().mean().backward()
        norms.append(stepping.finish().norm)
    return norms


FUSED = [name for name, cls in registry("optimizers").all().items() if cls.fused_backward and name != "custom"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", FUSED)
def test_fused_and_plain_take_the_same_steps(name: str, dtype: torch.dtype) -> None:
    config = registry("optimizers").get(name)()
    if not config.availability("cpu").works:
        pytest.skip("not installed")
    plain, fused, rounding = small_model(dtype), small_model(dtype), Rounding(3, True)
    optimizers = [config.build(groups_of(model)) for model in (plain, fused)]
    norms = walk(plain, PlainStep(optimizers[0], 0.0, rounding=rounding))
    near = pytest.approx(norms, rel=1e-5 if dtype == torch.float32 else 1e-2)
    assert walk(fused, FusedStep(optimizers[1], rounding)) == near
    for one, other in zip(plain.parameters(), fused.parameters(), strict=True):
        assert torch.equal(one, other)
        assert other.grad is None
    assert any(not torch.equal(a, b) for a, b in zip(fused.parameters(), small_model(dtype).parameters(), strict=True))


def test_the_gradient_is_gone_as_soon_as_it_was_used() -> None:
    model, most = small_model(), []
    stepping = FusedStep(torch.optim.AdamW(groups_of(model)))
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(
            lambda _: most.append(sum(p.grad is not None for p in model.parameters()))
        )
    walk(model, stepping, 1)
    assert most == [0] * 6, "after each weight's step no gradient is left"


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    model = small_model()
    before = [p.clone() for p in model.parameters()]
    stepping = PlainStep(torch.optim.AdamW(groups_of(model)), 1.0)
    stepping.begin(0)
    (model(torch.full((1, 6), float("nan")))).sum().backward()
    applied = stepping.finish()
    assert not applied.changed
    assert applied.norm != applied.norm
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_loss_that_is_not_finite_changes_nothing_even_with_finite_gradients() -> None:
    model = small_model()
    before = [p.clone() for p in model.parameters()]
    stepping = PlainStep(torch.optim.AdamW(groups_of(model)), 1.0)
    stepping.begin(0)
    model(torch.ones(1, 6)).sum().backward()
    applied = stepping.finish([torch.tensor([0.5, 0.25]), torch.tensor([math.inf])])
    assert not applied.changed and math.isfinite(applied.norm)
    assert applied.losses == [0.5, 0.25, math.inf]
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_fused_tells_of_a_gradient_that_is_not_finite() -> None:
    model = small_model()
    stepping = FusedStep(torch.optim.SGD(groups_of(model)))
    stepping.begin(0)
    (model(torch.full((1, 6), float("nan")))).sum().backward()
    assert not stepping.finish().changed
    assert all(torch.isfinite(p).all() for p in model.parameters()), "the weight itself was never touched by it"


def test_clipping_scales_all_gradients_alike() -> None:
    model, reference = small_model(), small_model()
    norms = walk(model, PlainStep(torch.optim.SGD(groups_of(model)), 0.1), 1)
    inputs = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    (reference(inputs) - 1).square().mean().backward()
    gradients = [p.grad.double() for p in reference.parameters()]  # type: ignore[union-attr]
    norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
    assert norms[0] == pytest.approx(float(norm), rel=1e-6)
    rates = [1e-2] * 3 + [3e-3] * 3
    for ours, p, g, rate in zip(model.parameters(), reference.parameters(), gradients, rates, strict=True):
        torch.testing.assert_close(ours.double(), p.double() - rate * g * min(1.0, 0.1 / float(norm)))


# -- bf16


def test_rounding_is_right_in_the_mean_and_to_a_neighbour() -> None:
    spacing = 2.0**-7  # of bf16 between 1 and 2
    exact = torch.full((200_000,), 1.0 + 0.3 * spacing)
    rounded = stochastically_rounded(exact, torch.Generator().manual_seed(0))
    assert rounded.dtype == torch.bfloat16
    assert set(rounded.float().unique().tolist()) == {1.0, 1.0 + spacing}
    share = (rounded.float() > 1).double().mean().item()
    assert share == pytest.approx(0.3, abs=5 * (0.3 * 0.7 / 200_000) ** 0.5)


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, -0.15625, 3.0e38, 1e-38])
def test_what_bf16_holds_stays(value: float) -> None:
    exact = torch.full((100,), value).to(torch.bfloat16).float()
    assert torch.equal(stochastically_rounded(exact, torch.Generator().manual_seed(0)).float(), exact)


def many_small_steps(stochastic: bool) -> Tensor:
    """A thousand steps of 1e-5 each down from 1, where bf16's spacing is 4e-3 to 8e-3."""
    weight = nn.Parameter(torch.ones(4000, dtype=torch.bfloat16))
    stepping = PlainStep(torch.optim.SGD([weight], lr=1e-5), 0.0, rounding=Rounding(7, stochastic))
    for step in range(1000):
        stepping.begin(step)
        weight.sum().backward()
        stepping.finish()
    return weight.detach().double()


def test_small_steps_add_up_only_where_rounding_is_stochastic() -> None:
    assert many_small_steps(stochastic=True).mean().item() == pytest.approx(0.99, abs=5e-4)
    assert torch.equal(many_small_steps(stochastic=False), torch.ones(4000, dtype=torch.float64))


def test_rounding_hangs_on_seed_step_and_number_alone() -> None:
    def rounded(seed: int, step: int, number: int) -> Tensor:
        weight = nn.Parameter(torch.ones(64, dtype=torch.bfloat16))
        weight.grad = torch.ones_like(weight)
        with as_fp32([(number, weight)], Rounding(seed, True), step):
            weight.data += 0.002
        return weight.data.clone()

    assert torch.equal(rounded(1, 2, 3), rounded(1, 2, 3))
    assert not any(torch.equal(rounded(1, 2, 3), rounded(*other)) for other in [(0, 2, 3), (1, 0, 3), (1, 2, 0)])


def test_the_state_of_bf16_weights_is_exact() -> None:
    model = small_model(torch.bfloat16)
    optimizer = torch.optim.AdamW(groups_of(model))
    walk(model, PlainStep(optimizer, 0.0, rounding=Rounding(0, True)), 1)
    states = [state["exp_avg"].dtype for state in optimizer.state.values()]
    assert states == [torch.float32] * 6
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
