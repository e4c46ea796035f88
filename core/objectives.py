"""How pictures are noised and what the model has to say: times, noise, target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from core.contracts import Prediction


class Objective(Protocol):
    """What the loop asks of a way of noising. Samples are independent; `times` has one entry per sample."""

    def draw_times(self, count: int, generator: Generator) -> Tensor:
        """Times for `count` samples, on the CPU."""
        ...

    def spread_times(self, count: int) -> Tensor:
        """`count` times, evenly spread over those that `draw_times` draws from, on the CPU."""
        ...

    def add_noise(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """The noisy latents."""
        ...

    def target(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """What the model should have predicted."""
        ...

    def snr(self, times: Tensor) -> Tensor:
        """Signal-to-noise ratio of each sample."""
        ...

    @property
    def prediction(self) -> str:
        """epsilon, v_prediction, or flow."""
        ...


@dataclass(frozen=True)
class Diffusion:
    """Discrete noise levels, as in SD 1.5 and SDXL (DDPM, Ho et al. 2020, equation 4; v: Salimans and Ho 2022).

    alphas_cumprod: the signal's share at each of the model's times, T, fp32 on the CPU.
    first, end: times are drawn from [first, end).
    """

    alphas_cumprod: Tensor
    prediction: Prediction = "epsilon"
    first: int = 0
    end: int | None = None

    def draw_times(self, count: int, generator: Generator) -> Tensor:
        """Times, int64, uniform."""
        import torch

        return torch.randint(self.first, self._end, (count,), generator=generator)

    def spread_times(self, count: int) -> Tensor:
        """Times, int64: the middle of each of `count` equal parts."""
        import torch

        halves = torch.arange(1, 2 * count, 2)
        return self.first + halves * (self._end - self.first) // (2 * count)

    def add_noise(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """sqrt(alpha) x + sqrt(1 - alpha) n."""
        signal, spread = self._scales(times, clean)
        return signal * clean + spread * noise

    def target(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """The noise, or v = sqrt(alpha) n - sqrt(1 - alpha) x."""
        if self.prediction == "epsilon":
            return noise
        signal, spread = self._scales(times, clean)
        return signal * noise - spread * clean

    def snr(self, times: Tensor) -> Tensor:
        """alpha / (1 - alpha), fp32; 0 at the last time of a schedule with zero terminal SNR."""
        alphas = self.alphas_cumprod[times.cpu()].to(times.device)
        return alphas / (1 - alphas)

    @property
    def _end(self) -> int:
        return len(self.alphas_cumprod) if self.end is None else self.end

    def _scales(self, times: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        alphas = self.alphas_cumprod[times.cpu()].to(like.device)
        alphas = alphas.reshape(-1, *[1] * (like.dim() - 1))
        return alphas.sqrt().to(like.dtype), (1 - alphas).sqrt().to(like.dtype)
