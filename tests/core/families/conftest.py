"""Tiny models of both families, and diffusers' own pipelines around the same parts."""

from typing import Any

import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

from core.contracts import Family, Model
from core.families._sampling import sampler
from core.families._saving import save_folder, save_single_file
from core.registry import registry


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", params=["sd15", "sdxl"])
def family(request) -> Family:
    return registry("families").get(request.param)()


@pytest.fixture
def model(family) -> Model:
    return shaken(family.tiny())


@pytest.fixture(scope="session", params=["base", "inpainting"])
def saved(request, family, tmp_path_factory) -> tuple[Model, Any, Any]:
    """A model, its folder and its single file."""
    folder = tmp_path_factory.mktemp(family.name)
    model = shaken(family.tiny(request.param))
    return model, save_folder(model, folder / "folder"), save_single_file(model, folder / "model.safetensors")


def shaken(model: Model) -> Model:
    """Biases and norms get random values too: a fresh model's zeros and ones would hide what is forgotten."""
    generator = torch.Generator().manual_seed(1)
    for module in model.parts.values():
        for weight in module.parameters():
            if weight.ndim == 1:
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return model


@pytest.fixture
def pipeline(family, model) -> Any:
    """diffusers' pipeline around the model's own modules."""
    return pipeline_around(family, model, StableDiffusionPipeline, StableDiffusionXLPipeline)


def pipeline_around(family: Family, model: Model, sd15: Any, sdxl: Any) -> Any:
    """One of two kinds of diffusers' pipelines, by the family."""
    parts, tokenizers = model.parts, model.tokenizers
    shared = {
        "vae": parts["vae"],
        "unet": parts["denoiser"],
        "text_encoder": parts["text_1"],
        "tokenizer": tokenizers["text_1"],
        "scheduler": sampler(model),
    }
    if family.name == "sdxl":
        second = {"text_encoder_2": parts["text_2"], "tokenizer_2": tokenizers["text_2"]}
        made = sdxl(**shared, **second, add_watermarker=False)
    else:
        left_out: Any = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        made = sd15(**shared, **left_out)
    made.set_progress_bar_config(disable=True)
    return made
