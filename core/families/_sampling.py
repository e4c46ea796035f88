"""Draws a picture with a diffusion model: diffusers' schedulers with classifier-free guidance."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from core.families._samplers import SCHEDULERS

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from core.contracts import Model, PreviewRequest

_BETAS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")


def betas(model: Model) -> dict[str, Any]:
    """The noise levels of a model's scheduler config, as every scheduler of diffusers takes them."""
    return {name: model.noise_schedule[name] for name in _BETAS if model.noise_schedule.get(name) is not None}


def sampler(model: Model, name: str = "ddim") -> Any:
    """diffusers' scheduler of a name, with the model's own noise levels and for what it predicts.

    With zero terminal SNR the steps begin at the last time, which is pure noise (Lin et al. 2023, section 3.3); only
    v-prediction can begin where there is no picture in the noise at all. Else they are spread as the programs do that
    the sampler comes from: from the last time to the first (k-diffusion), or over equal parts from 1 on (DDIM, PNDM).
    """
    found = SCHEDULERS[name]
    options: dict[str, Any] = {**betas(model), "prediction_type": model.prediction, **found.options}
    if found.spaced:
        options["timestep_spacing"] = _spacing(model, found.spacing)
        options["steps_offset"] = model.noise_schedule.get("steps_offset", 1)
    if model.zero_terminal_snr:
        options |= {"rescale_betas_zero_snr": True} if found.zero_terminal else {"trained_betas": _rescaled(model)}
    return getattr(importlib.import_module(found.module), found.cls)(**options)


def _spacing(model: Model, usual: str) -> str:
    if not model.zero_terminal_snr:
        return usual
    return "trailing" if model.prediction == "v_prediction" else "leading"


def _rescaled(model: Model) -> list[float]:
    """Betas with zero terminal SNR for schedulers that can't make them.

    The signal's share at the last time is 2**-24 in place of 0, as in diffusers' Euler, so that no level is infinite.
    """
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    shares = DDIMScheduler(**betas(model), rescale_betas_zero_snr=True).alphas_cumprod.double()
    shares[-1] = 2**-24
    earlier = shares.new_ones(len(shares))
    earlier[1:] = shares[:-1]
    return (1 - shares / earlier).tolist()


def draw_latents(
    scheduler: Any,
    shape: tuple[int, int, int],
    request: PreviewRequest,
    predict: Callable[[Tensor, Tensor], Tensor],
    device: Any,
) -> Tensor:
    """Latents 1 C h w, fp32, from noise that only the seed decides: the first, and what a sampler adds on the way.

    predict: (latents, times), both with a batch of 2 -> the output for the negative prompt and for the positive one;
    with a batch of 1, for the positive one, where the guidance is 1 or less, as in diffusers.
    """
    import torch

    generator = torch.Generator().manual_seed(request.seed)
    noisy = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    scheduler.set_timesteps(request.steps)
    if hasattr(scheduler, "set_begin_index"):  # else two steps at one time are mistaken for one another
        scheduler.set_begin_index(0)
    latents = torch.randn((1, *shape), generator=generator).to(device) * scheduler.init_noise_sigma
    for time in scheduler.timesteps:
        scaled = scheduler.scale_model_input(latents, time)
        times = time.to(device)
        if request.guidance > 1:
            negative, positive = predict(torch.cat([scaled] * 2), times.expand(2)).float().chunk(2)
            guided = negative + request.guidance * (positive - negative)
        else:
            guided = predict(scaled, times.expand(1)).float()
        latents = scheduler.step(guided, time, latents, **noisy).prev_sample
    return latents


def to_picture(pixels: Tensor) -> Image:
    """Pixels (3 H W, -1 to 1) as a picture."""
    from PIL import Image

    values = ((pixels.float() + 1) / 2).clamp(0, 1).mul(255).round().byte()
    return Image.fromarray(values.permute(1, 2, 0).cpu().numpy())


@contextmanager
def evaluating(modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """Inside, nothing drops out and no gradients are kept; afterwards every module is in its mode again."""
    import torch

    modes = [(child, child.training) for module in modules.values() for child in module.modules()]
    for module in modules.values():
        module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for child, mode in modes:
            child.training = mode
