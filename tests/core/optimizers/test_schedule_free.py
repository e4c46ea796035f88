"""Schedule-free optimizers: the paper's steps, and weights that are the same after a look at the average."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from core.optimizers.prodigy_plus_schedule_free import ProdigyPlusScheduleFree
from core.optimizers.schedule_free_adamw import AdamWScheduleFree
from core.optimizers.schedule_free_radam import RAdamScheduleFree
from core.optimizers.schedule_free_sgd import SGDScheduleFree
from core.settings.bases import OptimizerConfig

CONFIGS: list[OptimizerConfig] = [
    AdamWScheduleFree(),
    RAdamScheduleFree(),
    SGDScheduleFree(),
    ProdigyPlusScheduleFree(d0=0.01),
]
all_four = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)


def _train(optimizer: Any, weight: torch.nn.Parameter, steps: range, look: bool = False) -> None:
    for step in steps:
        weight.grad = torch.linspace(-1, 1, weight.numel(), dtype=weight.dtype).reshape(weight.shape) * (1 + step)
        optimizer.step()
        if look:
            optimizer.eval()
            optimizer.train()


def _weight(dtype: torch.dtype = torch.float32) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.linspace(-2, 3, 24).reshape(4, 6).to(dtype))


def test_sgds_steps_by_hand() -> None:
    """Algorithm 1 with c = 1 / t: z -= rate g(y), x = (1 - c) x + c z, y = (1 - b) z + b x."""
    weight, rate, beta = torch.nn.Parameter(torch.tensor([1.0, -2.0])), 0.1, 0.9
    optimizer: Any = SGDScheduleFree(momentum=beta).build([{"params": [weight], "lr": rate}])
    z = x = torch.tensor([1.0, -2.0], dtype=torch.float64)
    for step, gradient in enumerate(([3.0, -1.0], [0.5, 2.0], [-4.0, 1.0]), start=1):
        weight.grad = torch.tensor(gradient)
        optimizer.step()
        z = z - rate * torch.tensor(gradient, dtype=torch.float64)
        x = x + (z - x) / step
        torch.testing.assert_close(weight.detach().double(), (1 - beta) * z + beta * x, rtol=1e-6, atol=1e-6)
    optimizer.eval()
    torch.testing.assert_close(weight.detach().double(), x, rtol=1e-6, atol=1e-6)


def test_adamws_steps_are_the_librarys_reference() -> None:
    """Its own plain implementation, which keeps x, y and z apart."""
    from schedulefree import AdamWScheduleFreeReference

    ours, theirs = _weight(), _weight()
    config = AdamWScheduleFree(weight_decay=0.1, warmup_steps=4)
    optimizer: Any = config.build([{"params": [ours], "lr": 0.05}])
    reference = AdamWScheduleFreeReference([theirs], lr=0.05, weight_decay=0.1, warmup_steps=4)
    reference.train()
    for step in range(8):
        for weight in (ours, theirs):
            weight.grad = torch.linspace(-1, 1, 24).reshape(4, 6) * (1 + step)
        optimizer.step()
        reference.step()
        torch.testing.assert_close(ours.detach(), theirs.detach())
    optimizer.eval()
    reference.eval()
    torch.testing.assert_close(ours.detach(), theirs.detach())


@all_four
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_a_look_at_the_average_changes_nothing(config: OptimizerConfig, dtype: torch.dtype) -> None:
    looked, plain = _weight(dtype), _weight(dtype)
    for weight, look in ((looked, True), (plain, False)):
        torch.manual_seed(1)
        _train(config.build([{"params": [weight], "lr": 0.1}]), weight, range(8), look)
    assert torch.equal(looked, plain) and looked.dtype == dtype


def test_why_the_weights_are_kept_meanwhile() -> None:
    """The library comes back to other digits."""
    from schedulefree import AdamWScheduleFree as Theirs

    weight = torch.nn.Parameter(torch.randn(32, 32, generator=torch.Generator().manual_seed(1)))
    optimizer = Theirs([weight], lr=0.1)
    optimizer.train()
    _train(optimizer, weight, range(3))
    before = weight.detach().clone()
    optimizer.eval()
    optimizer.train()
    assert not torch.equal(weight, before)
    torch.testing.assert_close(weight.detach(), before)


@all_four
def test_the_average_is_another_set_of_weights(config: OptimizerConfig) -> None:
    weight = _weight()
    optimizer: Any = config.build([{"params": [weight], "lr": 0.5}])
    _train(optimizer, weight, range(8))
    trained = weight.detach().clone()
    optimizer.eval()
    averaged = weight.detach().clone()
    optimizer.eval()  # twice is once
    assert torch.equal(weight, averaged) and not torch.equal(averaged, trained)
    optimizer.train()
    assert torch.equal(weight, trained)


def test_weights_in_bf16_with_z_in_fp32() -> None:
    """As in a run, where weights are fp32 for the step alone."""
    weight = _weight(torch.bfloat16)
    optimizer: Any = AdamWScheduleFree().build([{"params": [weight], "lr": 0.1}])
    for _ in range(3):
        weight.data = weight.data.float()
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        weight.grad = None
        weight.data = weight.data.to(torch.bfloat16)
    y, z = weight.detach().float(), optimizer.state[weight]["z"].clone()
    assert z.dtype == torch.float32
    optimizer.eval()
    assert weight.dtype == torch.bfloat16
    torch.testing.assert_close(weight.detach(), (z + (y - z) / 0.9).to(torch.bfloat16))
    optimizer.train()
    assert torch.equal(weight.detach().float(), y) and torch.equal(optimizer.state[weight]["z"], z)


@all_four
def test_one_that_was_saved_with_the_averaged_weights_goes_on(config: OptimizerConfig) -> None:
    """The weights to train come from the average then, but for their last digits."""
    weight = _weight()
    optimizer: Any = config.build([{"params": [weight], "lr": 0.1}])
    _train(optimizer, weight, range(8))
    trained = weight.detach().clone()
    optimizer.eval()
    again = torch.nn.Parameter(weight.detach().clone())
    restored: Any = config.build([{"params": [again], "lr": 0.1}])
    restored.load_state_dict(optimizer.state_dict())
    restored.train()
    torch.testing.assert_close(again.detach(), trained)


def test_the_rate_is_told_with_the_librarys_warm_up() -> None:
    config = AdamWScheduleFree(warmup_steps=4)
    weight = _weight()
    optimizer = config.build([{"params": [weight], "lr": 0.1}])
    told = []
    for step in range(6):
        _train(optimizer, weight, range(step, step + 1))
        told.append(config.effective_rate(optimizer, optimizer.param_groups[0]))
    assert told == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_beta_without_an_average_is_a_problem(value: float) -> None:
    assert "betas.0" in {problem.path for problem in AdamWScheduleFree(betas=[value, 0.999]).check()}
    assert "betas.0" in {problem.path for problem in ProdigyPlusScheduleFree(betas=[value, 0.99]).check()}


# -- Prodigy Plus


def test_settings_that_the_library_would_change_are_problems() -> None:
    """It prints a line, and goes on with others than were asked for."""
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"atan2": True}, "use_stableadamw"),
        ({"use_cautious": True, "use_grams": True}, "use_grams"),
        ({"use_focus": True}, "factored"),
        ({"use_focus": True, "factored": False, "atan2": True, "use_stableadamw": False}, "atan2"),
        ({"use_cautious": True, "use_schedulefree": False}, "use_cautious"),
    ]
    for settings, path in wrong:
        problems = list(ProdigyPlusScheduleFree(**settings).check())
        assert [problem.path for problem in problems] == [path], settings
        assert problems[0].replacement
        solved = ProdigyPlusScheduleFree(**settings | dict(problems[0].replacement))
        assert not list(solved.check())


def test_why_cautious_steps_need_averaging() -> None:
    """The library multiplies gradient and momentum where it means to mask: all weights step the same way."""
    from prodigyplus import ProdigyPlusScheduleFree as Theirs

    weight = torch.nn.Parameter(torch.zeros(2, 2))
    optimizer = Theirs([weight], use_schedulefree=False, use_cautious=True, split_groups=False, d0=0.1)
    weight.grad = torch.tensor([[1.0, -1.0], [2.0, -2.0]])
    optimizer.step()
    assert (weight < 0).all(), "gradients of both signs, one direction"


def test_each_group_finds_a_rate_of_its_own_unless_told_not_to() -> None:
    for split, mean in ((True, False), (True, True), (False, False)):
        config = ProdigyPlusScheduleFree(split_groups=split, split_groups_mean=mean, d0=1e-3)
        weights = [_weight(), _weight()]
        groups = [{"params": [weight], "lr": 1.0} for weight in weights]
        optimizer = config.build(groups)
        for step in range(20):
            weights[0].grad = torch.ones_like(weights[0])
            weights[1].grad = torch.ones_like(weights[1]) * (-1) ** step  # going to and fro: no reason to go faster
            optimizer.step()
        rates = [config.effective_rate(optimizer, group) for group in optimizer.param_groups]
        found = [group["d"] for group in optimizer.param_groups]
        assert (found[0] != found[1]) == split
        assert (rates[0] != rates[1]) == (split and not mean)
        if mean:
            assert rates[0] == pytest.approx(2 / (1 / found[0] + 1 / found[1]))


def test_what_the_library_says_is_logged_and_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    ProdigyPlusScheduleFree(atan2=True, use_stableadamw=False).build([{"params": [_weight()], "lr": 1.0}])
    assert capsys.readouterr().out == ""
