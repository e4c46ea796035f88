"""The configs that we ship build models of exactly the published sizes, with the published noise."""

import json
from pathlib import Path

import diffusers
import torch
import transformers

CONFIGS = Path(__file__).parents[3] / "core" / "families" / "configs"

SIZES = {
    "sd15": {"denoiser": 859_520_964, "vae": 83_653_863, "text_1": 123_060_480},
    "sdxl": {"denoiser": 2_567_463_684, "vae": 83_653_863, "text_1": 123_060_480, "text_2": 694_659_840},
}


def test_the_real_models_have_their_published_numbers_of_weights(family, real_parts):
    sizes = {part: sum(weight.numel() for weight in model.parameters()) for part, model in real_parts.items()}
    assert sizes == SIZES[family]


def test_the_noise_schedules_ends_are_stable_diffusions(family):
    folder = CONFIGS / family / "scheduler"
    name = json.loads((folder / "scheduler_config.json").read_text())["_class_name"]
    scheduler = getattr(diffusers, name).from_pretrained(folder)
    kept = scheduler.alphas_cumprod
    torch.testing.assert_close(kept[[0, -1]], torch.tensor([0.99915, 0.0046601]), rtol=1e-4, atol=0)
    assert scheduler.config.steps_offset == 1
    assert scheduler.config.prediction_type == "epsilon"


def test_every_component_of_the_index_exists(family):
    index = json.loads((CONFIGS / family / "model_index.json").read_text())
    assert hasattr(diffusers, index["_class_name"])
    for name, entry in index.items():
        if isinstance(entry, list) and entry[0]:
            assert hasattr({"diffusers": diffusers, "transformers": transformers}[entry[0]], entry[1])
            assert name.startswith("tokenizer") or any((CONFIGS / family / name).glob("*.json"))


def test_latent_scales(family, real_parts):
    assert real_parts["vae"].config.scaling_factor == {"sd15": 0.18215, "sdxl": 0.13025}[family]
