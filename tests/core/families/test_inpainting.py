"""Inpainting models are shown what diffusers' inpainting pipelines show them, and draw what those draw."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_inpaint import StableDiffusionInpaintPipeline
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl_inpaint import (
    StableDiffusionXLInpaintPipeline,
)
from PIL import Image

from core.contracts import Framing, PreviewRequest
from core.dataset.masks import at_latent_size, cut_out, inpainting_controls
from core.dataset.pixels import Pixels
from core.families._sampling import sampler
from core.families._saving import save_folder
from tests.core.families.conftest import pipeline_around, shaken

HEIGHT, WIDTH = 64, 128


@pytest.fixture
def model(family):
    return shaken(family.tiny("inpainting"))


@pytest.fixture
def pipeline(family, model, monkeypatch) -> Any:
    """diffusers' pipeline around the model's own modules; its VAE gives the mean, as ours does."""
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode())
    return pipeline_around(family, model, StableDiffusionInpaintPipeline, StableDiffusionXLInpaintPipeline)


def picture_and_mask():
    """A picture, and a mask of whole latent pixels."""
    colours = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[16:40, 24:96] = 255
    return Image.fromarray(colours), Image.fromarray(mask)


def encoded(family, model, caption):
    with torch.no_grad():
        return {part: family.encode_text(model, part, [caption])[0] for part in family.text_parts}


def embeddings(conditions):
    """The pipeline's names for what is told of the negative and of the positive prompt."""
    hidden, pooled = conditions["hidden"], conditions.get("pooled")
    named = {"negative_prompt_embeds": hidden[:1], "prompt_embeds": hidden[1:]}
    if pooled is not None:
        named |= {"negative_pooled_prompt_embeds": pooled[:1], "pooled_prompt_embeds": pooled[1:]}
    return named


def seen_by(unet):
    """A list that gets the input of each call of a UNet's first convolution."""
    inputs = []
    unet.conv_in.register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0].detach().clone()))
    return inputs


def test_the_unet_is_shown_what_the_pipeline_shows_it(family, model, pipeline):
    picture, mask = picture_and_mask()
    inputs = seen_by(model.parts["denoiser"])
    size = (HEIGHT, WIDTH)
    both = [encoded(family, model, "ugly"), encoded(family, model, "a cat")]
    conditions = family.collate(both, [Framing(size, (0, 0), size)] * 2)
    pipeline(
        **embeddings(conditions.tensors), image=picture, mask_image=mask, height=HEIGHT, width=WIDTH,
        num_inference_steps=1, strength=1.0, guidance_scale=5.0, generator=torch.Generator().manual_seed(7),
        output_type="latent",
    )  # fmt: skip
    theirs = inputs.pop()
    pixels = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 127.5 - 1
    inside = (torch.from_numpy(np.asarray(mask).copy()) / 255)[None]
    shown = family.encode_images(model, cut_out(Pixels(pixels, inside, None))[None])[0]
    controls = inpainting_controls([at_latent_size(inside, HEIGHT // 8, WIDTH // 8)] * 2, [shown] * 2)
    conditions.tensors |= controls
    family.predict(model, theirs[:, :4], torch.tensor([1, 1]), conditions)
    ours = inputs.pop()
    assert ours.shape == theirs.shape == (2, 9, HEIGHT // 8, WIDTH // 8)
    assert theirs[0, 4].sum() == 3 * 9  # where it has to draw
    torch.testing.assert_close(ours[:, 4], theirs[:, 4], rtol=0, atol=0)
    torch.testing.assert_close(ours[:, 5:], theirs[:, 5:], rtol=0, atol=1e-5)
    assert theirs[:, 5:].std() > 0.01


def test_a_preview_is_what_the_pipeline_draws_where_all_is_masked(family, model, pipeline):
    picture, _ = picture_and_mask()
    positive, negative = encoded(family, model, "a cat"), encoded(family, model, "ugly")
    drawn = family.preview(model, positive, negative, PreviewRequest(WIDTH, HEIGHT, steps=3, guidance=5.0, seed=7))
    size = (HEIGHT, WIDTH)
    conditions = family.collate([negative, positive], [Framing(size, (0, 0), size)] * 2)
    pipeline.scheduler = sampler(model)
    theirs = pipeline(
        **embeddings(conditions.tensors), image=picture, mask_image=Image.new("L", (WIDTH, HEIGHT), 255),
        height=HEIGHT, width=WIDTH, num_inference_steps=3, strength=1.0, guidance_scale=5.0,
        generator=torch.Generator().manual_seed(7),
    ).images[0]  # fmt: skip
    ours, expected = np.asarray(drawn, dtype=int), np.asarray(theirs, dtype=int)
    assert ours.shape == expected.shape and expected.std() > 5
    assert np.abs(ours - expected).max() <= 1


def test_diffusers_reads_the_folder_as_an_inpainting_pipeline(family, model, tmp_path):
    from diffusers import DiffusionPipeline

    read: Any = DiffusionPipeline.from_pretrained(save_folder(model, tmp_path / "m"), safety_checker=None)
    assert isinstance(read, StableDiffusionXLInpaintPipeline | StableDiffusionInpaintPipeline)
    assert read.unet.config.in_channels == 9


def test_a_mask_and_a_masked_picture_matter(family, model):
    conditions = family.collate([encoded(family, model, "a")], [Framing((64, 64), (0, 0), (64, 64))])
    noisy, ones = torch.zeros(1, 4, 8, 8), torch.ones(1, 1, 8, 8)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    outputs = []
    for mask, shown in ((ones, latents), (0 * ones, latents), (ones, 0 * latents)):
        conditions.tensors |= {"mask": mask, "masked_latents": shown}
        outputs.append(family.predict(model, noisy, torch.tensor([500]), conditions))
    assert not torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2])
