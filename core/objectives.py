"""How pictures are noised and what the model has to say: times, noise, target."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor, device

    from core.contracts import Prediction

Kind = Literal["diffusion", "flow"]

TIMES = 1000
"""`first` and `end` count in these parts; flow models are told their noise level as a number up to this."""


class Objective(Protocol):
    """What the loop asks of a way of noising. Samples are independent; `times` has one entry per sample."""

    kind: ClassVar[Kind]

    def times_at(self, fractions: Tensor) -> Tensor:
        """The times, B, so far between the first and the end; on the CPU."""
        ...

    def spread_times(self, count: int) -> Tensor:
        """`count` times, evenly spread over those that are trained, on the CPU."""
        ...

    def level(self, times: Tensor) -> Tensor:
        """How noisy each sample is by its time, B, fp32: 0 is clean, 1 noise alone."""
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
    first, end: in thousandths of T; times are trained from the one to below the other.
    """

    kind: ClassVar[Kind] = "diffusion"

    alphas_cumprod: Tensor
    prediction: Prediction = "epsilon"
    first: int = 0
    end: int = TIMES
    _copies: dict[device, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def times_at(self, fractions: Tensor) -> Tensor:
        """Times, int64: each of them stands for an equal part of the fractions."""
        first, end = self._bounds
        times = first + (fractions.double() * (end - first)).floor().long()
        return times.clamp(max=end - 1)

    def spread_times(self, count: int) -> Tensor:
        """Times, int64: the middle of each of `count` equal parts."""
        import torch

        first, end = self._bounds
        halves = torch.arange(1, 2 * count, 2)
        return first + halves * (end - first) // (2 * count)

    def level(self, times: Tensor) -> Tensor:
        """The time's share of all times."""
        return times / len(self.alphas_cumprod)

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
        alphas = self._alphas(times)
        return alphas / (1 - alphas)

    def offset_share(self, times: Tensor) -> Tensor:
        """How strong a noise offset is at each time beside the last one's, B: psi of generalised offset noise.

        sqrt(SNR_T / SNR_t). Kutsuna 2024 (Generalized Diffusion Model with Adjusted Offset Noise), balanced strategy:
        the offset diffuses together with the noise, by gamma_t at each step, so that it is psi_t in the noisy picture
        and phi_t in what removes a step's noise, and gamma_t is chosen for phi_t = psi_t. The sums of Algorithm 1 then
        are (1 - alpha) / alpha but for a constant. OneTrainer leaves a factor of sqrt(alpha) out where it takes psi
        from these sums, and so weakens the offset at all but the last times; its phi and psi aren't equal.
        """
        last = self.alphas_cumprod[-1:]
        return ((last / (1 - last)).to(times.device) / self.snr(times)).sqrt()

    @property
    def ends_in_noise(self) -> bool:
        """Whether nothing of the picture is left at the last time (zero terminal SNR)."""
        return float(self.alphas_cumprod[-1]) < 1e-6  # diffusers leaves 2 ** -24 there

    @property
    def _bounds(self) -> tuple[int, int]:
        """The first time, and the one after the last, of this model's own."""
        count = len(self.alphas_cumprod)
        first, end = self.first * count // TIMES, self.end * count // TIMES
        return min(first, count - 1), max(end, first + 1)

    def _alphas(self, times: Tensor) -> Tensor:
        if times.device not in self._copies:  # kept, lest each look-up wait for a copy
            self._copies[times.device] = self.alphas_cumprod.to(times.device)
        return self._copies[times.device][times]

    def _scales(self, times: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        alphas = self._alphas(times).to(like.device).reshape(-1, *[1] * (like.dim() - 1))
        return alphas.sqrt().to(like.dtype), (1 - alphas).sqrt().to(like.dtype)


@dataclass(frozen=True)
class Flow:
    """Straight ways from picture to noise, as in SD 3 and Flux (rectified flow: Liu et al. 2022; Esser et al. 2024).

    A time is the noise level times 1000, as these models are told it; it need not be whole.
    first, end: in thousandths; times are trained from the one to the other.
    """

    kind: ClassVar[Kind] = "flow"
    prediction: ClassVar[str] = "flow"

    first: int = 0
    end: int = TIMES

    def times_at(self, fractions: Tensor) -> Tensor:
        """Times, fp32."""
        return (self.first + fractions.double() * (self.end - self.first)).float()

    def spread_times(self, count: int) -> Tensor:
        """Times, fp32: the middle of each of `count` equal parts."""
        import torch

        return self.times_at(torch.arange(1, 2 * count, 2) / (2 * count))

    def level(self, times: Tensor) -> Tensor:
        """The noise level, sigma."""
        return times / TIMES

    def add_noise(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """(1 - sigma) x + sigma n."""
        sigma = self._sigma(times, clean)
        return (1 - sigma) * clean + sigma * noise

    def target(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """The way from picture to noise: n - x."""
        return noise - clean

    def snr(self, times: Tensor) -> Tensor:
        """((1 - sigma) / sigma)^2; infinite for a clean picture."""
        sigma = self.level(times)
        return ((1 - sigma) / sigma).square()

    def _sigma(self, times: Tensor, like: Tensor) -> Tensor:
        return self.level(times).to(like.device, like.dtype).reshape(-1, *[1] * (like.dim() - 1))
