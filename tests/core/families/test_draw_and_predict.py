"""Latents, predictions, noise levels and previews equal diffusers' own."""

import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

from core.contracts import Framing, PreviewRequest
from core.families._sampling import draw_latents, sampler

REQUEST = PreviewRequest(width=128, height=64, steps=3, guidance=5.0, seed=7)


def encoded(family, model, caption):
    with torch.no_grad():
        return {part: family.encode_text(model, part, [caption])[0] for part in family.text_parts}


def batch(family, model, count=2):
    framings = [Framing((80, 70), (0, 4), (64, 64))] * count
    return family.collate([encoded(family, model, f"picture {i}") for i in range(count)], framings)


@pytest.mark.parametrize("prediction, zero", [("epsilon", False), ("v_prediction", False), ("v_prediction", True)])
def test_a_preview_is_the_picture_of_the_pipeline(family, model, pipeline, prediction, zero):
    model.prediction, model.zero_terminal_snr = prediction, zero
    positive, negative = encoded(family, model, "a cat"), encoded(family, model, "ugly")
    model.parts["denoiser"].train()
    picture = family.preview(model, positive, negative, REQUEST)
    assert model.parts["denoiser"].training and not model.parts["vae"].training
    model.parts["denoiser"].eval()
    conditions = family.collate([negative, positive], [Framing((64, 128), (0, 0), (64, 128))] * 2).tensors
    embeddings = {"negative_prompt_embeds": conditions["hidden"][:1], "prompt_embeds": conditions["hidden"][1:]}
    if "pooled" in conditions:
        embeddings["negative_pooled_prompt_embeds"] = conditions["pooled"][:1]
        embeddings["pooled_prompt_embeds"] = conditions["pooled"][1:]
    pipeline.scheduler = sampler(model)
    arguments = {
        **embeddings, "width": 128, "height": 64, "num_inference_steps": 3, "guidance_scale": 5.0,
    }  # fmt: skip
    theirs = pipeline(**arguments, generator=torch.Generator().manual_seed(7)).images[0]
    assert picture.size == theirs.size == (128, 64)
    ours, expected = np.asarray(picture, dtype=int), np.asarray(theirs, dtype=int)
    assert expected.std() > 5
    assert np.abs(ours - expected).max() <= 1
    latents = pipeline(**arguments, generator=torch.Generator().manual_seed(7), output_type="latent").images
    with torch.no_grad():
        drawn = draw_latents(
            sampler(model), (4, 8, 16), REQUEST, lambda noisy, times: family.predict(
                model, noisy, times, family.collate([negative, positive], [Framing((64, 128), (0, 0), (64, 128))] * 2)
            ), "cpu",
        )  # fmt: skip
    torch.testing.assert_close(drawn, latents, rtol=0, atol=1e-4)


def test_a_preview_under_autocast_decodes_in_the_vaes_own_precision(family, model, monkeypatch):
    dtypes = []
    convolution = model.parts["vae"].decoder.conv_in
    convolution.register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        family.preview(model, encoded(family, model, "a"), encoded(family, model, ""), REQUEST)
    assert dtypes == [torch.float32]


def test_images_are_encoded_as_the_scaled_mean(family, model, pipeline):
    pixels = torch.rand(2, 3, 64, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected = pipeline.vae.encode(pixels).latent_dist.mean * {"sd15": 0.18215, "sdxl": 0.13025}[family.name]
    with torch.autocast("cpu", torch.bfloat16):
        latents = family.encode_images(model, pixels)
    assert latents.shape == (2, 4, 8, 4) and latents.dtype == torch.float32
    torch.testing.assert_close(latents, expected, rtol=0, atol=1e-6)


def test_a_bf16_unet_predicts_nearly_what_the_fp32_one_does(family, model):
    conditions, generator = batch(family, model), torch.Generator().manual_seed(0)
    noisy, times = torch.randn(2, 4, 8, 8, generator=generator), torch.tensor([1, 900])
    exact = family.predict(model, noisy, times, conditions)
    model.parts["denoiser"].to(torch.bfloat16)
    model.parts["denoiser"].add_module("network", torch.nn.Linear(2, 2))  # a LoRA's fp32 weights
    rounded = family.predict(model, noisy, times, conditions)
    assert exact.dtype == torch.float32 and rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, rtol=0.1, atol=0.1)


def test_sdxl_is_told_the_sizes(family, model):
    if family.name != "sdxl":
        pytest.skip("SD 1.5 is told no sizes")
    noisy, times = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([500])
    outputs = [
        family.predict(model, noisy, times, family.collate([encoded(family, model, "a")], [framing]))
        for framing in (Framing((64, 64), (0, 0), (64, 64)), Framing((64, 64), (0, 16), (64, 64)))
    ]
    assert not torch.equal(*outputs)


def test_the_objective_has_the_noise_levels_of_the_real_models(family, model):
    model.prediction = "v_prediction"
    objective = family.objective(model)
    levels = objective.alphas_cumprod
    assert objective.prediction == "v_prediction" and levels.dtype == torch.float32 and len(levels) == 1000
    # scaled linear: sqrt(beta) goes evenly from sqrt(0.00085) to sqrt(0.012)
    roots = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64)
    torch.testing.assert_close(levels.double(), (1 - roots**2).cumprod(0), rtol=1e-5, atol=0)


def test_zero_terminal_snr_ends_in_pure_noise(family, model):
    model.zero_terminal_snr = True
    levels = family.objective(model).alphas_cumprod
    plain = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").alphas_cumprod
    assert levels[-1] == 0 and levels[0] == pytest.approx(float(plain[0]), rel=1e-4)
    roots = plain.double().sqrt()  # Lin et al. 2023, algorithm 1
    expected = ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2
    torch.testing.assert_close(levels.double(), expected, rtol=1e-3, atol=1e-6)
