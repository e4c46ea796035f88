"""The golden table: for each formula a small input, and the value that it must have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}
"""Stable Diffusion's noise levels."""


@dataclass(frozen=True)
class Row:
    """One formula with one input.

    about: what is tested: `losses.huber`, `noise.noise_offset`. name: of the row. source: the paper and equation, or
    the program, that says what is right. ours: what Ochre calculates. expected: written out in float64, or calculated
    by the library that the source names; never by Ochre.
    """

    about: str
    name: str
    source: str
    ours: Callable[[], Any]
    expected: Callable[[], Any]
    rtol: float = 1e-5
    atol: float = 1e-7

    @property
    def id(self) -> str:
        """For pytest."""
        return f"{self.about}: {self.name}"

    def check(self) -> None:
        """AssertionError, with both values, if they differ."""
        ours, expected = (torch.as_tensor(make(), dtype=torch.float64) for make in (self.ours, self.expected))
        torch.testing.assert_close(ours, expected, rtol=self.rtol, atol=self.atol)


def alphas(zero_terminal: bool = False) -> Tensor:
    """alpha-bar of Stable Diffusion, T, float64: written out, with Lin et al. 2023, algorithm 1, where it is wanted."""
    begin, end = SD["beta_start"] ** 0.5, SD["beta_end"] ** 0.5
    betas = torch.tensor([begin + (end - begin) * step / 999 for step in range(1000)], dtype=torch.float64) ** 2
    roots = (1 - betas).cumprod(0).sqrt()
    if zero_terminal:
        roots = (roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])
    return roots**2


def scheduler(zero_terminal: bool = False) -> Any:
    """diffusers' scheduler of these."""
    return DDPMScheduler(**SD, rescale_betas_zero_snr=zero_terminal)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers, fp32."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
