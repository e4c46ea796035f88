"""Muon and its relatives: what is made orthogonal, how long steps are, and what is left to Adam."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from core.errors import SettingsError
from core.registry import registry

MUONS = ("muon", "muon_adv", "adamuon_adv")
RATE = 0.01


def _weight(*shape: int, seed: int = 1) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)))


def _built(name: str, groups: list[dict[str, Any]], **settings: Any) -> torch.optim.Optimizer:
    return registry("optimizers").get(name)(**settings).build(groups)


def _first_step(name: str, weight: torch.nn.Parameter, gradient: Tensor, **settings: Any) -> Tensor:
    """How a weight changes, against the rate."""
    optimizer = _built(name, [{"params": [weight], "lr": RATE, "name": "denoiser"}], **settings)
    before = weight.detach().clone()
    weight.grad = gradient.clone()
    optimizer.step()
    return (before - weight.detach()) / RATE


@pytest.mark.parametrize("shape", [(8, 600), (600, 8), (24, 96), (16, 8, 3, 3)])
@pytest.mark.parametrize("name", ["muon", "muon_adv"])
def test_a_step_is_orthogonal_and_as_long_as_adamws(name: str, shape: tuple[int, ...]) -> None:
    """Against the polar factor U V^T of the gradient, by a singular value decomposition in float64.

    Jordan's coefficients bring singular values to 0.7 to 1.2, not to 1 (his figure 3). Lengths: Liu et al. 2025,
    equation 4, 0.2 x the root of the longer side; adv_optm scales to a root mean square of 0.2 exactly.
    """
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    step = _first_step(name, _weight(*shape), gradient).flatten(1).double()
    left, _, right = torch.linalg.svd(gradient.flatten(1).double(), full_matrices=False)
    longer = max(step.shape)
    sizes = torch.diagonal(left.T @ step @ right.T) / (0.2 * math.sqrt(longer))
    assert sizes.min() > 0.6 and sizes.max() < 1.3
    along = left @ torch.diag(torch.diagonal(left.T @ step @ right.T)) @ right
    assert (step - along).norm() < 0.1 * step.norm(), "its singular vectors are the gradient's"
    if name == "muon_adv":
        assert step.square().mean().sqrt() == pytest.approx(0.2, rel=1e-3)


@pytest.mark.parametrize("coefficients", ["polar_express", "polar_express_safer"])
def test_more_exact_coefficients(coefficients: str) -> None:
    """The Polar Express, Amsel et al. 2025: eight steps bring singular values to 1, as far as bf16 goes."""
    gradient = torch.randn(32, 64, generator=torch.Generator().manual_seed(3))
    settings = {"ns_coeffs": coefficients, "ns_steps": 8, "rms_rescaling": False, "adam_ratio": 0.05}
    step = _first_step("muon", _weight(32, 64), gradient, **settings)
    left, _, right = torch.linalg.svd(gradient.double(), full_matrices=False)
    torch.testing.assert_close(step.double(), left @ right, rtol=0, atol=0.02)


@pytest.mark.parametrize(("shape", "length"), [((8, 600), 1.0), ((600, 8), math.sqrt(600 / 8))])
@pytest.mark.parametrize("name", ["muon", "muon_adv"])
def test_muons_own_length(name: str, shape: tuple[int, int], length: float) -> None:
    """Jordan et al. 2024: the root of rows over columns, but 1 at least."""
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    step = _first_step(name, _weight(*shape), gradient, rms_rescaling=False, adam_ratio=0.05)
    sizes = torch.linalg.svdvals(step) / length
    assert sizes.min() > 0.6 and sizes.max() < 1.3


@pytest.mark.parametrize("name", MUONS)
def test_what_is_no_matrix_is_left_to_adam_at_a_rate_of_its_own(name: str) -> None:
    matrix, kernel = _weight(8, 16), _weight(4, 3, 3, 3)
    bias, scale, blocks, token = _weight(16), _weight(16, 1), _weight(2, 4, 4), _weight(2, 16)
    groups = [
        {"params": [matrix, bias, kernel, scale], "lr": 1e-3, "name": "denoiser", "part": "denoiser"},
        {"params": [blocks], "lr": 2e-3, "name": "text_1", "part": "text_1"},
        {"params": [token], "lr": 4e-3, "name": "text_1 embedding", "part": "text_1"},
    ]
    optimizer = _built(name, groups, adam_ratio=0.5)
    told = [(group["name"], group["part"], group["lr"], group["use_muon"]) for group in optimizer.param_groups]
    assert told == [
        ("denoiser", "denoiser", 1e-3, True),
        ("denoiser adam", "denoiser", 5e-4, False),
        ("text_1 adam", "text_1", 1e-3, False),
        ("text_1 embedding adam", "text_1", 2e-3, False),
    ]
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 2, 1, 1]
    assert [group["name"] for group in groups] == ["denoiser", "text_1", "text_1 embedding"], "theirs stay as they are"
    gradient = torch.full((16,), 0.5)
    before, bias.grad = bias.detach().clone(), gradient
    optimizer.step()
    # Adam's first step is the gradient's sign
    torch.testing.assert_close(before - bias.detach(), 5e-4 * gradient.sign(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", MUONS)
def test_groups_are_left_to_adam_by_name(name: str) -> None:
    groups = [
        {"params": [_weight(8, 16)], "lr": 1e-3, "name": "denoiser", "part": "denoiser"},
        {"params": [_weight(8, 16)], "lr": 1e-3, "name": "text_1 up", "part": "text_1"},
    ]
    optimizer = _built(name, groups, adam_groups="^text")
    assert [group["use_muon"] for group in optimizer.param_groups] == [True, False]
    with pytest.raises(SettingsError, match="matches no group of weights; there are denoiser, text_1 up"):
        _built(name, groups, adam_groups="vae")
    (problem,) = registry("optimizers").get(name)(adam_groups="(").check()
    assert problem.path == "adam_groups"


@pytest.mark.parametrize("name", MUONS)
def test_rates_of_muons_own_length_are_too_high_for_adam(name: str) -> None:
    cls = registry("optimizers").get(name)
    (problem,) = cls(rms_rescaling=False).check_rates({"denoiser": 0.02})
    assert problem.path == "optimizer.adam_ratio" and problem.replacement == {"optimizer.adam_ratio": 0.05}
    assert not list(cls(rms_rescaling=False, adam_ratio=0.05).check_rates({"denoiser": 0.02}))
    assert not list(cls().check_rates({"denoiser": 1e-4}))


def test_draws_hang_on_the_step_alone() -> None:
    """The library has one generator for all optimizers of a process: another run before this one changes nothing."""
    gradient = torch.randn(32, 64, generator=torch.Generator().manual_seed(3))

    def stepped() -> Tensor:
        return _first_step("muon_adv", _weight(32, 64), gradient, low_rank_ortho=True, ortho_rank=4)

    first = stepped()
    assert torch.linalg.matrix_rank(first, rtol=1e-3) == 4
    assert torch.equal(stepped(), first)


def test_adamuon_divides_each_weights_step_by_its_usual_size() -> None:
    """AdaMuon, Si et al. 2025, algorithm 1: the first step is that of the sign of each number, at AdamW's length."""
    gradient = torch.randn(8, 16, generator=torch.Generator().manual_seed(3))
    step = _first_step("adamuon_adv", _weight(8, 16), gradient)
    assert step.square().mean().sqrt() == pytest.approx(0.2, rel=1e-3)
    assert step.abs().std() < 0.02 * step.abs().mean()
