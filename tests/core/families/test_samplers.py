"""Every sampler draws what the model's own noise levels and prediction ask for, and what diffusers' pipelines draw."""

from __future__ import annotations

import importlib
from typing import Any, get_args

import numpy
import pytest
import torch
from torch import Tensor

from core.contracts import Framing, Model, PreviewRequest
from core.families._samplers import SCHEDULERS, SamplerName, sampler_name
from core.families._sampling import draw_latents, sampler

NAMES = get_args(SamplerName)
ADDS_NOISE = {name for name in NAMES if name.endswith(("_a", "_a_karras", "sde", "sde_karras")) or name == "ddpm"}
LEVELS = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}  # fmt: skip
KINDS = [("epsilon", False), ("v_prediction", False), ("v_prediction", True)]


# -- against what is known: of data that are normally distributed, everything can be written down


class Gaussian:
    """The perfect model of data with a mean and a deviation; the levels as in Lin et al. 2023, algorithm 1."""

    mean, deviation = 0.5, 0.6

    def __init__(self, prediction: str, zero: bool) -> None:
        self.prediction = prediction
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        roots = (1 - betas).cumprod(0).sqrt()
        if zero:
            roots = (roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])
            roots[-1] = 2**-12  # not infinitely far away, as in diffusers' schedulers
        self.log_snr = (roots**2 / (1 - roots**2)).log()

    def __call__(self, noisy: Tensor, times: Tensor) -> Tensor:
        low = times.double().floor().long().clamp(0, 998)
        between = times.double() - low  # DPM2 asks between two of the model's times
        share = torch.sigmoid((1 - between) * self.log_snr[low] + between * self.log_snr[low + 1])
        signal, spread = (root.view(-1, 1, 1, 1) for root in (share.sqrt(), (1 - share).sqrt()))
        away = noisy.double() - signal * self.mean
        variance = (signal * self.deviation) ** 2 + spread**2
        clean, noise = self.mean + signal * self.deviation**2 / variance * away, spread / variance * away
        return (noise if self.prediction == "epsilon" else signal * noise - spread * clean).float()


@pytest.mark.parametrize("prediction, zero", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_data_of_a_known_distribution_come_out(name: str, prediction: Any, zero: bool) -> None:
    """Without added noise, x = mean + deviation * first noise (the probability flow, Song et al. 2021)."""
    model = Model("sd15", {}, {}, dict(LEVELS), prediction=prediction, zero_terminal_snr=zero)
    request = PreviewRequest(256, 256, steps=60, guidance=1.0, seed=3, sampler=name)
    drawn = draw_latents(sampler(model, name), (4, 32, 32), request, Gaussian(prediction, zero), "cpu")
    first = torch.randn((1, 4, 32, 32), generator=torch.Generator().manual_seed(3))
    away = (drawn - Gaussian.mean - Gaussian.deviation * first).square().mean().sqrt()
    if name in ADDS_NOISE:
        assert away > 0.6, "no noise of its own was added"
        tolerance = 0.15 if zero and "sde_karras" in name else 0.08
    else:
        assert away < 0.06
        tolerance = 0.06
    assert float(drawn.mean()) == pytest.approx(Gaussian.mean, abs=0.05)
    assert float(drawn.std()) == pytest.approx(Gaussian.deviation, abs=tolerance)


# -- against diffusers: its pipelines, with its schedulers set up by hand

PRIVATE = "diffusers.schedulers.scheduling_"
MULTI, SINGLE = "dpmsolver_multistep.DPMSolverMultistepScheduler", "dpmsolver_singlestep.DPMSolverSinglestepScheduler"
THEIRS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("ddim.DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False, "timestep_spacing": "leading"}),
    "ddpm": ("ddpm.DDPMScheduler", {"clip_sample": False, "timestep_spacing": "leading"}),
    "pndm": ("pndm.PNDMScheduler", {"skip_prk_steps": True, "timestep_spacing": "leading"}),
    "euler": ("euler_discrete.EulerDiscreteScheduler", {}),
    "euler_karras": ("euler_discrete.EulerDiscreteScheduler", {"use_karras_sigmas": True}),
    "euler_a": ("euler_ancestral_discrete.EulerAncestralDiscreteScheduler", {}),
    "heun": ("heun_discrete.HeunDiscreteScheduler", {}),
    "dpm_2": ("k_dpm_2_discrete.KDPM2DiscreteScheduler", {}),
    "dpm_2_a": ("k_dpm_2_ancestral_discrete.KDPM2AncestralDiscreteScheduler", {}),
    "dpmsolver": (MULTI, {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}),
    "dpm++_2m": (MULTI, {}),
    "dpm++_2m_karras": (MULTI, {"use_karras_sigmas": True}),
    "dpm++_2m_sde": (MULTI, {"algorithm_type": "sde-dpmsolver++"}),
    "dpm++_2s": (SINGLE, {"lower_order_final": True}),
    "dpm++_sde": (SINGLE, {"algorithm_type": "sde-dpmsolver++", "lower_order_final": True}),
    "unipc": ("unipc_multistep.UniPCMultistepScheduler", {}),
    "lms": ("", {}),  # diffusers' own needs scipy; its coefficients are tested below
}


def theirs(name: str, prediction: str, zero: bool) -> Any:
    path, options = THEIRS[name]
    module, _, cls = path.partition(".")
    known: dict[str, Any] = {"prediction_type": prediction, **LEVELS, **options}
    if module.startswith("dpmsolver_singlestep"):
        known.pop("steps_offset")
    if zero:
        known |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return getattr(importlib.import_module(PRIVATE + module), cls)(**known)


def drawn_by_both(family: Any, model: Model, pipeline: Any, request: PreviewRequest) -> tuple[Tensor, Tensor]:
    """Latents by the pipeline with its present scheduler, and ours."""
    size = (request.height, request.width)
    with torch.no_grad():
        told = [
            {part: family.encode_text(model, part, [text])[0] for part in family.text_parts} for text in ("ugly", "cat")
        ]
    conditions = family.collate(told, [Framing(size, (0, 0), size)] * 2)
    embeddings = {
        f"{negative}{pooled}prompt_embeds": conditions.tensors[name][place : place + 1]
        for place, negative in enumerate(("negative_", ""))
        for name, pooled in (("hidden", ""), ("pooled", "pooled_"))
        if name in conditions.tensors
    }
    made = pipeline(
        **embeddings, width=request.width, height=request.height, num_inference_steps=request.steps,
        guidance_scale=request.guidance, generator=torch.Generator().manual_seed(request.seed), output_type="latent",
    ).images  # fmt: skip
    shape = (4, request.height // 8, request.width // 8)
    with torch.no_grad():
        ours = draw_latents(
            sampler(model, request.sampler),
            shape,
            request,
            lambda noisy, times: family.predict(model, noisy, times, conditions),
            "cpu",
        )
    return made, ours


@pytest.mark.parametrize("name", [name for name in THEIRS if name != "lms"])
def test_the_pipeline_draws_the_same(name: str, family: Any, model: Model, pipeline: Any) -> None:
    model.prediction = "v_prediction"
    pipeline.scheduler = theirs(name, "v_prediction", zero=False)
    request = PreviewRequest(64, 64, steps=4, guidance=3.0, seed=11, sampler=name)
    expected, drawn = drawn_by_both(family, model, pipeline, request)
    assert expected.std() > 0.1
    torch.testing.assert_close(drawn, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["ddim", "euler", "euler_a", "dpm++_2m", "dpm++_2m_sde", "unipc"])
def test_so_it_does_with_zero_terminal_snr(name: str, family: Any, model: Model, pipeline: Any) -> None:
    model.prediction, model.zero_terminal_snr = "v_prediction", True
    pipeline.scheduler = theirs(name, "v_prediction", zero=True)
    request = PreviewRequest(64, 64, steps=4, guidance=3.0, seed=11, sampler=name)
    expected, drawn = drawn_by_both(family, model, pipeline, request)
    torch.testing.assert_close(drawn, expected, rtol=1e-4, atol=1e-4)


def test_lms_integrates_the_lagrange_polynomials() -> None:
    scheduler = sampler(Model("sd15", {}, {}, dict(LEVELS)), "lms")
    scheduler.set_timesteps(20)
    levels = scheduler.sigmas.double().numpy()
    for order in (1, 2, 3, 4):
        for current in range(order):
            roots = [levels[10 - other] for other in range(order) if other != current]
            basis = numpy.polynomial.Polynomial.fromroots(roots) if roots else numpy.polynomial.Polynomial([1.0])
            whole = (basis / basis(levels[10 - current])).integ()
            expected = whole(levels[11]) - whole(levels[10])
            assert scheduler.get_lms_coefficient(order, 10, current) == pytest.approx(expected, rel=1e-6)


# -- seeds


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_is_a_picture_and_nothing_else_is_drawn_from(name: str, family: Any, model: Model) -> None:
    with torch.no_grad():
        told = {part: family.encode_text(model, part, ["a cat"])[0] for part in family.text_parts}
    first = PreviewRequest(64, 64, steps=2, guidance=1.0, seed=5, sampler=name)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = numpy.asarray(family.preview(model, told, told, first))
    assert torch.equal(torch.get_rng_state(), before), "the run's own generator was drawn from"
    torch.manual_seed(2)
    assert numpy.array_equal(numpy.asarray(family.preview(model, told, told, first)), one)
    other = PreviewRequest(64, 64, steps=2, guidance=1.0, seed=6, sampler=name)
    assert not numpy.array_equal(numpy.asarray(family.preview(model, told, told, other)), one)


def test_guidance_of_one_is_the_prompt_alone(family: Any, model: Model) -> None:
    rows: list[int] = []
    model.parts["denoiser"].register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    with torch.no_grad():
        one, other = (
            {part: family.encode_text(model, part, [text])[0] for part in family.text_parts} for text in ("a", "b")
        )
    drawn = [
        numpy.asarray(family.preview(model, one, negative, PreviewRequest(64, 64, 2, 1.0, 5)))
        for negative in (one, other)
    ]
    assert numpy.array_equal(drawn[0], drawn[1]) and set(rows) == {1}


# -- names

KOHYAS = [
    "ddim", "pndm", "lms", "euler", "euler_a", "heun", "dpm_2", "dpm_2_a", "dpmsolver", "dpmsolver++", "dpmsingle",
    "k_lms", "k_euler", "k_euler_a", "k_dpm_2", "k_dpm_2_a",
]  # fmt: skip


def test_the_table_has_a_scheduler_for_each_name() -> None:
    assert list(SCHEDULERS) == list(NAMES)
    assert all(sampler_name(name) == name for name in NAMES)


def test_kohyas_names_and_a1111s_are_known() -> None:
    assert {sampler_name(name) for name in KOHYAS} <= set(NAMES)
    assert sampler_name("dpmsolver++") == sampler_name("DPM++ 2M") == "dpm++_2m"
    assert sampler_name("Euler a") == sampler_name("k_euler_a") == "euler_a"
    assert sampler_name("DPM++ 2M SDE Karras") == "dpm++_2m_sde_karras"
    assert sampler_name("no such") == "no such"
