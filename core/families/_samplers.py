"""The samplers that pictures are drawn with: their names, and the scheduler of diffusers' that each is.

Importing this needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

SamplerName = Literal[
    "ddim",
    "ddpm",
    "pndm",
    "lms",
    "lms_karras",
    "euler",
    "euler_karras",
    "euler_a",
    "heun",
    "heun_karras",
    "dpm_2",
    "dpm_2_karras",
    "dpm_2_a",
    "dpm_2_a_karras",
    "dpmsolver",
    "dpm++_2m",
    "dpm++_2m_karras",
    "dpm++_2m_sde",
    "dpm++_2m_sde_karras",
    "dpm++_2s",
    "dpm++_2s_karras",
    "dpm++_sde",
    "dpm++_sde_karras",
    "unipc",
    "unipc_karras",
]
"""Those that Ochre draws with."""


@dataclass(frozen=True)
class Scheduler:
    """A scheduler of diffusers'.

    options: what it is told besides the model's noise levels and prediction.
    spaced: it takes `timestep_spacing`. zero_terminal: it takes `rescale_betas_zero_snr`. spacing: of its times.
    """

    label: str
    module: str
    cls: str
    options: Mapping[str, Any] = field(default_factory=dict)
    spaced: bool = True
    zero_terminal: bool = False
    spacing: str = "linspace"


_FROM = "diffusers.schedulers"
_DPM = (f"{_FROM}.scheduling_dpmsolver_multistep", "DPMSolverMultistepScheduler")
_SINGLE = (f"{_FROM}.scheduling_dpmsolver_singlestep", "DPMSolverSinglestepScheduler")
_EULER = (f"{_FROM}.scheduling_euler_discrete", "EulerDiscreteScheduler")
_KARRAS = {"use_karras_sigmas": True}

SCHEDULERS: Mapping[str, Scheduler] = {
    "ddim": Scheduler(
        "DDIM",
        f"{_FROM}.scheduling_ddim",
        "DDIMScheduler",
        {"clip_sample": False, "set_alpha_to_one": False},
        zero_terminal=True,
        spacing="leading",
    ),
    "ddpm": Scheduler(
        "DDPM",
        f"{_FROM}.scheduling_ddpm",
        "DDPMScheduler",
        {"clip_sample": False},
        zero_terminal=True,
        spacing="leading",
    ),
    "pndm": Scheduler("PNDM", f"{_FROM}.scheduling_pndm", "PNDMScheduler", {"skip_prk_steps": True}, spacing="leading"),
    "lms": Scheduler("LMS", "core.families._lms", "LmsScheduler"),
    "lms_karras": Scheduler("LMS Karras", "core.families._lms", "LmsScheduler", _KARRAS),
    "euler": Scheduler("Euler", *_EULER, zero_terminal=True),
    "euler_karras": Scheduler("Euler Karras", *_EULER, _KARRAS, zero_terminal=True),
    "euler_a": Scheduler(
        "Euler a", f"{_FROM}.scheduling_euler_ancestral_discrete", "EulerAncestralDiscreteScheduler", zero_terminal=True
    ),
    "heun": Scheduler("Heun", f"{_FROM}.scheduling_heun_discrete", "HeunDiscreteScheduler"),
    "heun_karras": Scheduler("Heun Karras", f"{_FROM}.scheduling_heun_discrete", "HeunDiscreteScheduler", _KARRAS),
    "dpm_2": Scheduler("DPM2", f"{_FROM}.scheduling_k_dpm_2_discrete", "KDPM2DiscreteScheduler"),
    "dpm_2_karras": Scheduler("DPM2 Karras", f"{_FROM}.scheduling_k_dpm_2_discrete", "KDPM2DiscreteScheduler", _KARRAS),
    "dpm_2_a": Scheduler("DPM2 a", f"{_FROM}.scheduling_k_dpm_2_ancestral_discrete", "KDPM2AncestralDiscreteScheduler"),
    "dpm_2_a_karras": Scheduler(
        "DPM2 a Karras", f"{_FROM}.scheduling_k_dpm_2_ancestral_discrete", "KDPM2AncestralDiscreteScheduler", _KARRAS
    ),
    "dpmsolver": Scheduler(
        "DPM-Solver 2M", *_DPM, {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}, zero_terminal=True
    ),
    "dpm++_2m": Scheduler("DPM++ 2M", *_DPM, zero_terminal=True),
    "dpm++_2m_karras": Scheduler("DPM++ 2M Karras", *_DPM, _KARRAS, zero_terminal=True),
    "dpm++_2m_sde": Scheduler("DPM++ 2M SDE", *_DPM, {"algorithm_type": "sde-dpmsolver++"}, zero_terminal=True),
    "dpm++_2m_sde_karras": Scheduler(
        "DPM++ 2M SDE Karras", *_DPM, {"algorithm_type": "sde-dpmsolver++", **_KARRAS}, zero_terminal=True
    ),
    "dpm++_2s": Scheduler("DPM++ 2S", *_SINGLE, {"lower_order_final": True}, spaced=False),
    "dpm++_2s_karras": Scheduler("DPM++ 2S Karras", *_SINGLE, {"lower_order_final": True, **_KARRAS}, spaced=False),
    "dpm++_sde": Scheduler(
        "DPM++ SDE", *_SINGLE, {"algorithm_type": "sde-dpmsolver++", "lower_order_final": True}, spaced=False
    ),
    "dpm++_sde_karras": Scheduler(
        "DPM++ SDE Karras",
        *_SINGLE,
        {"algorithm_type": "sde-dpmsolver++", "lower_order_final": True, **_KARRAS},
        spaced=False,
    ),
    "unipc": Scheduler("UniPC", f"{_FROM}.scheduling_unipc_multistep", "UniPCMultistepScheduler", zero_terminal=True),
    "unipc_karras": Scheduler(
        "UniPC Karras", f"{_FROM}.scheduling_unipc_multistep", "UniPCMultistepScheduler", _KARRAS, zero_terminal=True
    ),
}

ALIASES: Mapping[str, SamplerName] = {
    "dpmsolver++": "dpm++_2m",
    "dpmsingle": "dpm++_2s",
    "k_lms": "lms",
    "k_euler": "euler",
    "k_euler_a": "euler_a",
    "k_dpm_2": "dpm_2",
    "k_dpm_2_a": "dpm_2_a",
    "dpmpp": "dpm++_2m",
    "dpmpp_karras": "dpm++_2m_karras",
    "dpmpp_sde": "dpm++_2m_sde",
    "dpmpp_sde_karras": "dpm++_2m_sde_karras",
}
"""kohya's and OneTrainer's other names."""

assert SCHEDULERS.keys() == set(get_args(SamplerName))


def sampler_name(name: Any) -> Any:
    """A sampler's own name for any that is known: its own, kohya's, or A1111's (`DPM++ 2M Karras`); else as it is."""
    if not isinstance(name, str):
        return name
    plain = "_".join(name.lower().split())
    labels = {"_".join(one.label.lower().split()): known for known, one in SCHEDULERS.items()}
    return ALIASES.get(plain) or labels.get(plain) or (plain if plain in SCHEDULERS else name)
