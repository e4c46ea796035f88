"""Steps of the libraries' optimizers against the papers' formulas, written out in float64.

Where a library differs from its paper, the formula here says so: that is what its users get.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from core.registry import registry
from core.settings.bases import OptimizerConfig

RATE = 0.01
STEPS = 6
Formula = Callable[..., Tensor]


def _gradients(shape: tuple[int, ...]) -> list[Tensor]:
    draws = torch.Generator().manual_seed(11)
    return [torch.randn(shape, generator=draws, dtype=torch.float64) for _ in range(STEPS)]


def _start(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def _steps(gradients: Sequence[Tensor]) -> Iterator[tuple[int, Tensor]]:
    yield from enumerate(gradients, 1)


def _adam_parts(gradients: Sequence[Tensor], beta_1: float, beta_2: float) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Gradient, corrected mean and corrected square, step by step (Kingma and Ba 2015, algorithm 1)."""
    m, v = torch.zeros_like(gradients[0]), torch.zeros_like(gradients[0])
    for t, g in _steps(gradients):
        m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g**2
        yield g, m / (1 - beta_1**t), v / (1 - beta_2**t)


def adamw(w: Tensor, gradients: Sequence[Tensor], decay: float = 0.1) -> Tensor:
    for _, m, v in _adam_parts(gradients, 0.9, 0.999):
        w = w - RATE * decay * w - RATE * m / (v.sqrt() + 1e-8)
    return w


def adam_atan2(w: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    """Scaling Exponents Across Parameterizations and Optimizers, Everett et al. 2024, with 4 / pi.

    adv_optm corrects the mean after the arc tangent, not before: its first steps are up to 1.27 times as long.
    """
    for t, (_, m, v) in enumerate(_adam_parts(gradients, 0.9, 0.999), 1):
        correction = 1 - 0.9**t
        w = w - RATE / correction * 4 / math.pi * torch.atan2(m * correction, v.sqrt())
    return w


def adabelief(w: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    m, s = torch.zeros_like(w), torch.zeros_like(w)
    for t, g in _steps(gradients):
        m = 0.9 * m + 0.1 * g
        s = 0.999 * s + 0.001 * (g - m) ** 2 + 1e-16
        w = w - RATE * (m / (1 - 0.9**t)) / ((s / (1 - 0.999**t)).sqrt() + 1e-16)
    return w


def adamw_cautious(w: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    """Cautious Weight Decay, Chen et al. 2025, algorithm 1: only where step and decay have one direction."""
    for _, m, v in _adam_parts(gradients, 0.9, 0.999):
        u = m / (v.sqrt() + 1e-8)
        w = w - RATE * 0.1 * w * (u * w >= 0) - RATE * u
    return w


def adamw_orthogonal(w: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    """Grokking at the Edge of Numerical Stability, Prieto et al. 2025, equation 9, at the gradient's length."""
    m, v = torch.zeros_like(w), torch.zeros_like(w)
    for t, g in _steps(gradients):
        across = g - (w * g).sum() / (w * w).sum() * w
        g = across * g.norm() / across.norm()
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w - RATE * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    return w


def adamw_factored(w: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    """SMMF: Square-Matricized Momentum Factorization, Park and Lee 2024: rows, columns and signs of a 7 x 5 matrix."""

    def kept(full: Tensor) -> Tensor:
        sizes = full.reshape(7, 5).abs()
        product = sizes.sum(1, keepdim=True) * sizes.sum(0, keepdim=True) / sizes.sum()
        return torch.where(full > 0, 1.0, -1.0) * product.reshape(full.shape)

    m, v = torch.zeros_like(w), torch.zeros_like(w)
    for t, g in _steps(gradients):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w - RATE * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
        m, v = kept(m), kept(v).abs()
    return w


def adamw_kourkoutas(w: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    """Kourkoutas-beta, Kassinos 2025, equations 1 to 4, from the gradient before; Adam's correction knows one beta."""
    m, v, usual, length = torch.zeros_like(w), torch.zeros_like(w), 0.0, 0.0
    for t, g in _steps(gradients):
        usual = 0.95 * usual + 0.05 * length
        ratio = length / (usual + 1e-9)
        beta_2 = 0.999 - (0.999 - 0.9) * ratio / (1 + ratio)
        m, v, length = 0.9 * m + 0.1 * g, beta_2 * v + (1 - beta_2) * g**2, g.norm().item()
        w = w - RATE * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    return w


def adopt(w: Tensor, gradients: Sequence[Tensor], ahead: int = 1, decay: float = 0.0) -> Tensor:
    """ahead: pytorch_optimizer clips at the fourth root of the step's number plus 1, the paper of its number."""
    m, v = torch.zeros_like(w), gradients[0] ** 2
    for t, g in _steps(gradients[1:]):
        limit = (t + ahead) ** 0.25
        m = 0.9 * m + 0.1 * (g / v.sqrt().clamp(min=1e-6)).clamp(-limit, limit)
        w = w - RATE * decay * w - RATE * m
        v = 0.9999 * v + 0.0001 * g**2
    return w


def adopt_adv(w: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    """As the paper's (epsilon is added instead of being the least, 1e-6)."""
    return adopt(w, gradients, ahead=0, decay=0.1)


def adan(w: Tensor, gradients: Sequence[Tensor], decay: float = 0.1) -> Tensor:
    m, v, n = (torch.zeros_like(w) for _ in range(3))
    before = gradients[0]
    for t, g in _steps(gradients):
        difference, before = g - before, g
        m, v = 0.98 * m + 0.02 * g, 0.92 * v + 0.08 * difference
        n = 0.99 * n + 0.01 * (g + 0.92 * difference) ** 2
        step = m / (1 - 0.98**t) + 0.92 * v / (1 - 0.92**t)
        w = (w - RATE * step / ((n / (1 - 0.99**t)).sqrt() + 1e-8)) / (1 + RATE * decay)
    return w


def aida(w: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    m, v = torch.zeros_like(w), torch.zeros_like(w)
    for t, g in _steps(gradients):
        m = 0.9 * m + 0.1 * g
        ours, theirs = g, m
        for _ in range(2):
            product = (ours * theirs).sum()
            ours, theirs = product / (ours**2).sum() * ours, product / (theirs**2).sum() * theirs
        v = 0.999 * v + 0.001 * (theirs - ours) ** 2 + 1e-8
        w = w - RATE * (m / (1 - 0.9**t)) / ((v.sqrt() + 1e-8) / math.sqrt(1 - 0.999**t))
    return w


def came(w: Tensor, gradients: Sequence[Tensor], decay: float = 0.1) -> Tensor:
    rows, columns, distrust_rows, distrust_columns = (torch.zeros(n, dtype=w.dtype) for n in (*w.shape, *w.shape))
    m = torch.zeros_like(w)
    for g in gradients:
        squares = g**2 + 1e-30
        rows, columns = 0.999 * rows + 0.001 * squares.mean(1), 0.999 * columns + 0.001 * squares.mean(0)
        u = g / (rows[:, None] * columns[None] / rows.mean()).sqrt()
        u = u / max(1.0, u.square().mean().sqrt().item())
        m = 0.9 * m + 0.1 * u
        apart = (u - m) ** 2 + 1e-16
        distrust_rows = 0.9999 * distrust_rows + 0.0001 * apart.mean(1)
        distrust_columns = 0.9999 * distrust_columns + 0.0001 * apart.mean(0)
        s = distrust_rows[:, None] * distrust_columns[None] / distrust_rows.mean()
        w = w - RATE * decay * w - RATE * m / s.sqrt()
    return w


def fadam(w: Tensor, gradients: Sequence[Tensor], decay: float = 0.1) -> Tensor:
    m, fisher = torch.zeros_like(w), torch.zeros_like(w)
    for t, g in _steps(gradients):
        beta = 0.999 * (1 - 0.999 ** (t - 1)) / (1 - 0.999**t)
        fisher = beta * fisher + (1 - beta) * g**2
        epsilon = min(1e-8, 0.01 * g.square().mean().sqrt().item())
        base = fisher.sqrt() + epsilon
        natural, pull = g / base, w / base
        m = 0.9 * m + 0.1 * natural / max(1.0, natural.square().mean().sqrt().item())
        w = w - RATE * (m + decay * pull / max(1.0, pull.square().mean().sqrt().item()))
    return w


def grams(w: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    for g, m, v in _adam_parts(gradients, 0.9, 0.999):
        w = w - RATE * 0.1 * w - RATE * (m / (v.sqrt() + 1e-6)).abs() * g.sign()
    return w


def lion(w: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    """Symbolic Discovery of Optimization Algorithms, Chen et al. 2023, algorithm 2."""
    m = torch.zeros_like(w)
    for g in gradients:
        w, m = w - RATE * (0.9 * m + 0.1 * g).sign() - RATE * 0.1 * w, 0.99 * m + 0.01 * g
    return w


def mars(w: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    """The first gradient's difference is taken from zero, as the authors' program does."""
    m, v, before = (torch.zeros_like(w) for _ in range(3))
    for t, g in _steps(gradients):
        c, before = g + 0.025 * 0.95 / 0.05 * (g - before), g
        c = c / max(1.0, c.norm().item())
        m, v = 0.95 * m + 0.05 * c, 0.99 * v + 0.01 * c**2
        w = w - RATE * 0.1 * w - RATE * (m / (1 - 0.95**t)) / ((v / (1 - 0.99**t)).sqrt() + 1e-8)
    return w


def signum(w: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    m = torch.zeros_like(w)
    for g in gradients:
        m = 0.9 * m + 0.1 * g
        w = w - RATE * 0.1 * w - RATE * m.sign()
    return w


def soap(w: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    """The axes are the first gradient's, until the tenth step; the first step doesn't move."""
    left = torch.linalg.eigh(gradients[0] @ gradients[0].T)[1]
    right = torch.linalg.eigh(gradients[0].T @ gradients[0])[1]
    m, v = torch.zeros_like(w), torch.zeros_like(w)
    for t, g in _steps(gradients[1:]):
        m, v = 0.95 * m + 0.05 * g, 0.95 * v + 0.05 * (left.T @ g @ right) ** 2
        u = left @ ((left.T @ m @ right) / (v.sqrt() + 1e-8)) @ right.T
        w = (w - RATE * math.sqrt(1 - 0.95**t) / (1 - 0.95**t) * u) * (1 - RATE * 0.1)
    return w


def stable_adamw(w: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    m, v = torch.zeros_like(w), torch.zeros_like(w)
    for t, g in _steps(gradients):
        beta_1 = 0.9 * (1 - 0.9 ** (t - 1)) / (1 - 0.9**t)
        beta_2 = 0.99 * (1 - 0.99 ** (t - 1)) / (1 - 0.99**t)
        m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g**2
        rate = RATE / max(1.0, (g**2 / v.clamp(min=1e-16)).mean().sqrt().item())
        w = w - rate * 0.1 * w - rate * m / (v.sqrt() + 1e-8)
    return w


def tiger(w: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    m = torch.zeros_like(w)
    for g in gradients:
        m = 0.965 * m + 0.035 * g
        w = w - RATE * (m.sign() + 0.1 * w)
    return w


def yogi(w: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    """With Adam's corrections for the beginning, which the paper hasn't; both memories begin with 1e-6."""
    m, v = torch.full_like(w, 1e-6), torch.full_like(w, 1e-6)
    for t, g in _steps(gradients):
        m = 0.9 * m + 0.1 * g
        v = v - 0.001 * (v - g**2).sign() * g**2
        w = w - RATE * 0.1 * w - RATE * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-3)
    return w


DECAY = {"weight_decay": 0.1}
FORMULAS: list[tuple[str, dict[str, Any], Formula]] = [
    ("adabelief", {}, adabelief),
    ("adamw_adv", DECAY, adamw),
    ("adamw_adv", DECAY | {"cautious_wd": True}, adamw_cautious),
    ("adamw_adv", {"orthogonal_gradient": "flattened"}, adamw_orthogonal),
    ("adamw_adv", {"nnmf_factor": True}, adamw_factored),
    ("adamw_adv", {"kourkoutas_beta": True}, adamw_kourkoutas),
    ("adamw_adv", {"use_atan2": True}, adam_atan2),
    ("adan", DECAY, adan),
    ("adopt", {}, adopt),
    ("adopt_adv", DECAY, adopt_adv),
    ("aida", {}, aida),
    ("came", DECAY, came),
    ("came8bit", DECAY, came),  # so small a tensor stays fp32
    ("fadam", DECAY, fadam),
    ("grams", DECAY, grams),
    ("lion_adv", DECAY, lion),
    ("mars", DECAY, mars),
    ("signsgd_adv", DECAY, signum),
    ("soap", DECAY, soap),
    ("stable_adamw", DECAY, stable_adamw),
    ("tiger", DECAY, tiger),
    ("yogi", DECAY, yogi),
]


@pytest.mark.parametrize(("name", "settings", "formula"), FORMULAS, ids=[f"{n}-{f.__name__}" for n, _, f in FORMULAS])
def test_steps_as_the_formula(name: str, settings: dict[str, Any], formula: Formula) -> None:
    config: OptimizerConfig = registry("optimizers").get(name)(**settings)
    shape = (5, 5) if name == "soap" else (5, 7)  # a matrix that isn't square has no axis for some directions
    start, gradients = _start(shape), _gradients(shape)
    wanted = formula(start, gradients)
    assert (wanted - start).abs().max() > 0.01, "it went somewhere"
    given = _given(config, start, gradients)
    torch.testing.assert_close(given, wanted, rtol=0, atol=2e-5 if name == "soap" else 2e-6)


def test_adanorm_lengthens_gradients_that_are_shorter_than_usual() -> None:
    """AdaNorm, Dubey et al. 2022, algorithm 2: the mean is taken of gradients of usual length at least; the variance,
    in the library, of the gradients as they are. Without projections (k = 0) that is Aida's |m - g|^2."""
    gradients = [gradient / 4**place for place, gradient in enumerate(_gradients((5, 7)))]
    w = start = _start((5, 7))
    m, v, usual, lengthened = torch.zeros_like(w), torch.zeros_like(w), 0.0, 0
    for t, g in _steps(gradients):
        length = g.norm().item()
        usual = 0.5 * usual + 0.5 * length
        lengthened += usual > length
        m = 0.9 * m + 0.1 * g * max(1.0, usual / length)
        v = 0.999 * v + 0.001 * (m - g) ** 2 + 1e-8
        w = w - RATE * (m / (1 - 0.9**t)) / ((v.sqrt() + 1e-8) / math.sqrt(1 - 0.999**t))
    assert lengthened == STEPS - 1
    config = registry("optimizers").get("aida")(k=0, adanorm=True, adanorm_r=0.5)
    torch.testing.assert_close(_given(config, start, gradients), w, rtol=0, atol=2e-6)
    plain = registry("optimizers").get("aida")(k=0)
    assert (_given(plain, start, gradients) - w).abs().max() > 0.001


def _given(config: OptimizerConfig, start: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    """The weights after the library's steps."""
    weight = torch.nn.Parameter(start.float())
    optimizer = config.build([{"params": [weight], "lr": RATE, "name": "denoiser"}])
    for gradient in gradients:
        weight.grad = gradient.float()
        optimizer.step()
    return weight.detach().double()


def test_adan_takes_lengthened_gradients_into_its_mean_alone() -> None:
    gradients = [gradient / 4**place for place, gradient in enumerate(_gradients((5, 7)))]
    w = start = _start((5, 7))
    m, v, n = (torch.zeros_like(w) for _ in range(3))
    usual, before = 0.0, gradients[0]
    for t, g in _steps(gradients):
        difference, before = g - before, g
        usual = 0.5 * usual + 0.5 * g.norm().item()
        m = 0.98 * m + 0.02 * g * max(1.0, usual / g.norm().item())
        v, n = 0.92 * v + 0.08 * difference, 0.99 * n + 0.01 * (g + 0.92 * difference) ** 2
        step = m / (1 - 0.98**t) + 0.92 * v / (1 - 0.92**t)
        w = w - RATE * step / ((n / (1 - 0.99**t)).sqrt() + 1e-8)
    config = registry("optimizers").get("adan")(adanorm=True, adanorm_r=0.5)
    torch.testing.assert_close(_given(config, start, gradients), w, rtol=0, atol=2e-6)
    plain = registry("optimizers").get("adan")()
    assert (_given(plain, start, gradients) - w).abs().max() > 0.001


def test_lions_convolutions_may_keep_their_direction() -> None:
    """Lion Secretly Solves Constrained Optimization, Chen et al. 2023, with K the norm: at the length of the signs."""
    start, (gradient, *_) = _start((4, 3, 3, 3)), _gradients((4, 3, 3, 3))
    config = registry("optimizers").get("lion_adv")(auto_kappa_p=True)
    wanted = start - RATE * gradient / gradient.norm() * math.sqrt(gradient.numel())
    torch.testing.assert_close(_given(config, start, [gradient]), wanted, rtol=0, atol=2e-6)
    matrix, (slope, *_) = _start((5, 7)), _gradients((5, 7))
    torch.testing.assert_close(_given(config, matrix, [slope]), matrix - RATE * slope.sign(), rtol=0, atol=2e-6)
