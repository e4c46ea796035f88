"""Draws a picture with a diffusion model: DDIM with classifier-free guidance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    from PIL.Image import Image
    from torch import Tensor, nn

    from core.contracts import Model, PreviewRequest

_BETAS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")


def betas(model: Model) -> dict[str, Any]:
    """The noise levels of a model's scheduler config, as every scheduler of diffusers takes them."""
    return {name: model.noise_schedule[name] for name in _BETAS if model.noise_schedule.get(name) is not None}


def sampler(model: Model) -> DDIMScheduler:
    """DDIM (Song et al. 2021), deterministic, for what the model predicts.

    With zero terminal SNR the steps begin at the last time, which is pure noise (Lin et al. 2023, section 3.3).
    """
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    return DDIMScheduler(
        **betas(model),
        prediction_type=model.prediction,
        rescale_betas_zero_snr=model.zero_terminal_snr,
        # Only v-prediction can begin where there is no picture in the noise at all.
        timestep_spacing="trailing" if model.zero_terminal_snr and model.prediction == "v_prediction" else "leading",
        steps_offset=model.noise_schedule.get("steps_offset", 1),
        clip_sample=False,
        set_alpha_to_one=False,
    )


def draw_latents(
    scheduler: Any,
    shape: tuple[int, int, int],
    request: PreviewRequest,
    predict: Callable[[Tensor, Tensor], Tensor],
    device: Any,
) -> Tensor:
    """Latents 1 C h w, fp32, from noise that only the seed decides.

    predict: (latents, times), both with a batch of 2 -> the output for the negative prompt and for the positive one.
    A guidance of 1 or less is the positive prompt alone, as in diffusers.
    """
    import torch

    generator = torch.Generator().manual_seed(request.seed)
    latents = torch.randn((1, *shape), generator=generator).to(device) * scheduler.init_noise_sigma
    scheduler.set_timesteps(request.steps)
    for time in scheduler.timesteps:
        noisy = scheduler.scale_model_input(torch.cat([latents] * 2), time)
        negative, positive = predict(noisy, time.to(device).expand(2)).float().chunk(2)
        guided = negative + max(request.guidance, 1.0) * (positive - negative)
        latents = scheduler.step(guided, time, latents).prev_sample
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
