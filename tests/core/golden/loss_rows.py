"""What an error costs."""

from __future__ import annotations

import math
from typing import Any

import torch

from core.objectives import Flow
from core.registry import registry
from tests.core.golden.objective_rows import diffusion
from tests.core.golden.table import Row, alphas, drawn

TIMES = torch.tensor([0, 300, 999])
PREDICTION, TARGET = drawn(3, 4, 2, 2, seed=3), 3 * drawn(3, 4, 2, 2, seed=4)
D = PREDICTION.double() - TARGET.double()
KOHYA = "kohya's trainer, train_util.py, get_huber_threshold_if_needed and conditional_loss"
VALUES = ((0.1, 1.0), (0.5, 2.0))
FLOW_C = torch.tensor([0.9 * 0.75**2 + 0.1, 0.9 * 0.5**2 + 0.1, 0.1], dtype=torch.float64).reshape(3, 1, 1, 1)
SCHEDULES = ("constant", "exponential", "snr")


def _ours(name: str, objective: Any = None, times: torch.Tensor = TIMES, **settings: Any) -> torch.Tensor:
    loss = registry("losses").get(name)(**settings)
    return loss.errors(PREDICTION, TARGET, objective or diffusion(), times)


def _c(schedule: str, c: float, scale: float) -> torch.Tensor:
    """kohya's threshold; but that the scale counts under snr, too."""
    if schedule == "exponential":
        values = [c ** (time / 1000) for time in (0, 300, 999)]
    elif schedule == "snr":
        share = alphas()[TIMES]
        values = [(1 - c) / (1 + math.sqrt((1 - a) / a)) ** 2 + c for a in share.tolist()]
    else:
        values = [c] * 3
    return scale * torch.tensor(values, dtype=torch.float64).reshape(3, 1, 1, 1)


def _root(c: torch.Tensor) -> torch.Tensor:
    return (D**2 + c**2).sqrt() - c


def _threshold_rows(schedule: str, c: float, scale: float) -> list[Row]:
    settings = {"huber_schedule": schedule, "huber_c": c, "huber_scale": scale}
    name = f"{schedule}, c {c:g}, scale {scale:g}"

    def exact() -> torch.Tensor:
        each = _c(schedule, c, scale)
        return torch.cat([
            torch.nn.functional.huber_loss(PREDICTION[i].double(), TARGET[i].double(), reduction="none", delta=float(x))
            for i, x in enumerate(each.flatten())
        ]).reshape(D.shape)  # fmt: skip

    return [
        Row(
            "losses.huber", name, KOHYA, lambda: _ours("huber", **settings),
            lambda: 2 * _c(schedule, c, scale) * _root(_c(schedule, c, scale)), rtol=1e-4, atol=1e-6,
        ),
        Row(
            "losses.huber", f"exact, {name}", "Huber 1964, as torch's huber_loss",
            lambda: _ours("huber", shape="exact", **settings), exact, rtol=1e-4,
        ),
        Row(
            "losses.smooth_l1", name, KOHYA, lambda: _ours("smooth_l1", **settings),
            lambda: 2 * _root(_c(schedule, c, scale)), rtol=1e-4, atol=1e-6,
        ),
    ]  # fmt: skip


ROWS = [
    Row("losses.l2", "error", "Ho et al. 2020, equation 14", lambda: _ours("l2"), lambda: D * D),
    Row("losses.l1", "error", "the absolute value", lambda: _ours("l1"), lambda: torch.where(D > 0, D, -D)),
    Row(
        "losses.log_cosh", "error", "its name; OneTrainer's log_cosh_strength",
        lambda: _ours("log_cosh").flatten(), lambda: [math.log(math.cosh(x)) for x in D.flatten().tolist()], atol=1e-6,
    ),
    Row(
        "losses.log_cosh", "an error of 1000, whose cosh no float holds", "log(cosh x) = |x| - log 2 for large x",
        lambda: registry("losses").get("log_cosh")().errors(
            torch.tensor([1000.0, -1000.0]), torch.zeros(2), diffusion(), TIMES[:2]
        ),
        lambda: [1000 - math.log(2)] * 2,
    ),
    *(row for schedule in SCHEDULES for c, scale in VALUES for row in _threshold_rows(schedule, c, scale)),
    Row(
        "losses.huber", "snr for flow models", "kohya's formula, with sigma / (1 - sigma) for sigma",
        lambda: _ours("huber", Flow(), torch.tensor([250.0, 500.0, 1000.0])),
        lambda: 2 * FLOW_C * _root(FLOW_C),
        rtol=1e-4, atol=1e-6,
    ),
    Row(
        "losses.huber", "snr at zero terminal SNR: the threshold is c", KOHYA,
        lambda: _ours("huber", diffusion("v_prediction", True), torch.tensor([999] * 3)),
        lambda: 2 * 0.1 * _root(torch.tensor(0.1)), rtol=1e-3, atol=1e-5,
    ),
]  # fmt: skip
