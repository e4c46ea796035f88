"""The noise that pictures are hidden in. Random numbers come from generators of the same seeds, in the same order."""

from __future__ import annotations

import math
from typing import Any

import torch

from core.config.sections import Noise
from core.training.noise import multi_resolution, offset
from tests.core.golden.objective_rows import diffusion
from tests.core.golden.table import Row, alphas, drawn

LATENT = drawn(4, 9, 6, seed=5) + torch.tensor([0.5, -1.0, 0.0, 2.0]).reshape(4, 1, 1)
KOHYA = "kohya's trainer, custom_train_functions.py"
TIMES = torch.tensor([0, 10, 300, 700, 999])


def _offset(**own: Any) -> torch.Tensor:
    return offset(LATENT, Noise(**own), torch.Generator().manual_seed(1)).flatten()


def _written_offset(k: float, scale: float = 0.0, random: bool = False) -> list[float]:
    """k randn(c), with k + scale |mean| for k, not below 0; k is first multiplied by rand() if it is random."""
    generator = torch.Generator().manual_seed(1)
    strength = k * float(torch.rand((), generator=generator)) if random else k
    numbers = torch.randn(4, generator=generator).tolist()
    means = [sum(channel) / len(channel) for channel in LATENT.flatten(1).double().tolist()]
    return [max(0.0, strength + scale * abs(mean)) * number for mean, number in zip(means, numbers, strict=True)]


def _enlarged(small: list[list[float]], height: int, width: int) -> list[list[float]]:
    """Bilinear, with the pixels' centres where they are in the picture, as torch without align_corners."""

    def places(most: int, few: int) -> list[tuple[int, int, float]]:
        found = []
        for place in range(most):
            exact = max(0.0, (place + 0.5) * few / most - 0.5)
            low = min(int(exact), few - 1)
            found.append((low, min(low + 1, few - 1), exact - low))
        return found

    return [
        [
            (1 - y) * ((1 - x) * small[top][left] + x * small[top][right])
            + y * ((1 - x) * small[bottom][left] + x * small[bottom][right])
            for left, right, x in places(width, len(small[0]))
        ]
        for top, bottom, y in places(height, len(small))
    ]


def _written_pyramid(iterations: int, discount: float) -> torch.Tensor:
    """For i: r = 2 rand() + 2; n += enlarged randn(h / r^i, w / r^i) discount^i, until a side is 1; n / n.std()."""
    generator = torch.Generator().manual_seed(2)
    total = LATENT.double().clone()
    channels, height, width = total.shape
    for i in range(iterations):
        r = float(torch.rand((), generator=generator)) * 2 + 2
        h, w = max(1, int(height / (r**i))), max(1, int(width / (r**i)))
        small = torch.randn(1, channels, h, w, generator=generator)[0].double().tolist()
        total += (
            torch.tensor([_enlarged(channel, height, width) for channel in small], dtype=torch.float64) * discount**i
        )
        if h == 1 or w == 1:
            break
    numbers = total.flatten().tolist()
    mean = sum(numbers) / len(numbers)
    return total / math.sqrt(sum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1))


def _pyramid(iterations: int, discount: float) -> torch.Tensor:
    config = Noise(multires_noise_iterations=iterations, multires_noise_discount=discount)
    return multi_resolution(LATENT, config, torch.Generator().manual_seed(2))


def _algorithm_1() -> torch.Tensor:
    """psi by Kutsuna 2024: gamma from the balanced strategy's recursion, psi from its sums, and psi_T brought to 1."""
    share = alphas().tolist()
    before = [1.0, *share[:-1]]  # alpha-bar of the time before
    total, sums = 1.0, [1.0]  # of gamma_i / sqrt(alpha-bar_(i - 1)), with gamma_1 = 1
    for t in range(1, 1000):
        alpha = share[t] / before[t]
        gamma = (1 - alpha) * math.sqrt(before[t]) / (alpha * (1 - before[t])) * total
        total += gamma / math.sqrt(before[t])
        sums.append(total)
    psi = [math.sqrt(a) * s / math.sqrt(1 - a) for a, s in zip(share, sums, strict=True)]
    return torch.tensor([value / psi[-1] for value in psi], dtype=torch.float64)[TIMES]


ROWS = [
    Row(
        "noise.noise_offset", "fixed", f"{KOHYA}, apply_noise_offset",
        lambda: _offset(noise_offset=0.1), lambda: _written_offset(0.1),
    ),
    Row(
        "noise.noise_offset_random_strength", "drawn", f"{KOHYA}, apply_noise_offset, for a batch of one",
        lambda: _offset(noise_offset=0.1, noise_offset_random_strength=True), lambda: _written_offset(0.1, random=True),
    ),
    Row(
        "noise.adaptive_noise_scale", "more with brightness", f"{KOHYA}, apply_noise_offset",
        lambda: _offset(noise_offset=0.1, adaptive_noise_scale=0.2), lambda: _written_offset(0.1, 0.2),
    ),
    Row(
        "noise.adaptive_noise_scale", "less, but not below 0", f"{KOHYA}, apply_noise_offset",
        lambda: _offset(noise_offset=0.1, adaptive_noise_scale=-0.1), lambda: _written_offset(0.1, -0.1),
    ),
    Row(
        "noise.generalized_offset_noise", "psi", "Kutsuna 2024, algorithm 1 with the balanced strategy",
        lambda: diffusion().offset_share(TIMES), _algorithm_1, rtol=2e-3,
    ),
    *(
        Row(
            "noise.multires_noise_iterations", f"{iterations} with discount {discount}",
            f"{KOHYA}, pyramid_noise_like, for a batch of one",
            lambda i=iterations, d=discount: _pyramid(i, d), lambda i=iterations, d=discount: _written_pyramid(i, d),
            atol=1e-6,
        )
        for iterations, discount in ((1, 0.3), (2, 0.3), (8, 0.8))
    ),
]  # fmt: skip
