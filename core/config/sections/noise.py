"""The noise that pictures are hidden in."""

from __future__ import annotations

from collections.abc import Iterator

from core.errors import Problem
from core.settings import Settings, setting


class Noise(Settings):
    """The noise that pictures are hidden in."""

    noise_offset: float = setting(
        0.0,
        "Noise offset",
        "Adds noise that is equal over the whole picture, so that very dark and very bright pictures can be learned; "
        "0.03 to 0.1 is usual.",
        ge=0,
        le=1,
        level="advanced",
        also=("offset_noise_weight",),
    )
    noise_offset_random_strength: bool = setting(
        False, "Offset of random strength", "Between 0 and the noise offset, drawn for each picture.", level="advanced"
    )
    adaptive_noise_scale: float = setting(
        0.0,
        "Offset by brightness",
        "Adds so much of the mean of each latent channel, without its sign, to the noise offset: dark and bright "
        "pictures get more. Below 0: less.",
        ge=-10,
        le=10,
        level="advanced",
    )
    generalized_offset_noise: bool = setting(
        False,
        "Offset by noise level",
        "Weakens the offset at less noisy times, which keeps it consistent with how samples are drawn. Not for flow "
        "models, nor for zero terminal SNR.",
        level="advanced",
    )
    multires_noise_iterations: int = setting(
        0,
        "Multi-resolution noise",
        "Adds noise in so many coarser and coarser sizes, for large areas and contrast; 6 to 10 is usual, 0 is none.",
        ge=0,
        le=64,
        level="advanced",
    )
    multires_noise_discount: float = setting(
        0.3,
        "Discount",
        "How strong each coarser noise is beside the one before; 0.1 to 0.4 is usual.",
        gt=0,
        le=1,
        level="advanced",
    )
    ip_noise_gamma: float = setting(
        0.0,
        "Input perturbation",
        "Adds so much more noise to what the model is shown, but not to what it has to say, so that it learns to live "
        "with its own errors; 0.1 is the paper's.",
        ge=0,
        le=1,
        level="advanced",
        also=("perturbation_noise_weight",),
    )
    ip_noise_gamma_random_strength: bool = setting(
        False,
        "Perturbation of random strength",
        "Between 0 and the perturbation above, drawn for each picture.",
        level="advanced",
    )

    def check(self) -> Iterator[Problem]:
        for name, needed, title in (
            ("noise_offset_random_strength", self.noise_offset, "noise_offset"),
            ("generalized_offset_noise", self.noise_offset or self.adaptive_noise_scale, "noise_offset"),
            ("ip_noise_gamma_random_strength", self.ip_noise_gamma, "ip_noise_gamma"),
        ):
            if getattr(self, name) and not needed:
                yield Problem(name, f"has no effect, as {title} is 0; set that, or switch this off")
