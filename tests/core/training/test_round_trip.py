"""What a run saves, other programs load: diffusers' pipelines draw the trainer's own pictures with it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from PIL import Image
from safetensors.torch import load_file

from core.config.lora import LoraConfig
from core.config.toml_file import read_config
from core.contracts import Encoded, Framing, Model
from core.families import _sampling as sampling
from core.manager.training_executor import Job
from core.training.base_model import find_base
from core.training.events import Event, Finished
from core.training.previews import Preview, previews_of
from core.training.setup import attach_networks

pytestmark = pytest.mark.slow

PIPELINES = {"sd15": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}
NETWORKS = {
    "lora": {"name": "lora", "rank": 4, "alpha": 2},
    "locon": {"name": "locon", "rank": 4, "alpha": 2, "conv_rank": 2, "conv_alpha": 3},
}
PROMPT = {"prompt": "{trigger} on blue", "negative": "a red cube", "width": 64, "height": 64, "seed": 3}

Train = Callable[..., tuple[Job, Event | None]]
Pixels = numpy.ndarray


def settings(family: str, network: str) -> dict[str, Any]:
    """A run that changes much in few steps, in all parts."""
    part = {"train": True, "learning_rate": 1e-2}
    parts = ("denoiser", "text_1", "text_2")[: 3 if family == "sdxl" else 2]
    return {
        "parts": dict.fromkeys(parts, part),
        "networks": [NETWORKS[network]],
        "training": {"max_steps": 4},
        "schedule": {"name": "constant"},
        "sampling": {"prompts": [PROMPT], "steps": 4, "every": "never", "before_first_step": False},
    }


def trainers_pixels(config: LoraConfig, backup: Path) -> Pixels:
    """The sample (H W 3, 0 to 1) that the trainer draws with a backup's weights, before it becomes 8-bit."""
    base = find_base(config.model_copy(update={"base": config.base.model_copy(update={"source": str(backup)})}))
    model = base.empty_model(config)
    parts = ("denoiser", "vae", *base.family.text_parts)
    loaded = base.family.load(base.path, parts, dict.fromkeys(parts, torch.float32))
    model.parts, model.tokenizers = loaded.parts, loaded.tokenizers
    attach_networks(config, base, model)
    (preview,) = previews_of(config)
    with torch.no_grad(), sampling.evaluating(model.parts):
        return draw(base.family, model, preview)


def draw(family: Any, model: Model, preview: Preview) -> Pixels:
    size = (preview.request.height, preview.request.width)

    def encode(prompt: str) -> Encoded:
        return {part: family.encode_text(model, part, [prompt])[0] for part in family.text_parts}

    encoded = [encode(preview.negative), encode(preview.positive)]
    conditions = family.collate(encoded, [Framing(size, (0, 0), size)] * 2)
    vae: Any = model.parts["vae"]
    latents = sampling.draw_latents(
        sampling.sampler(model),
        (4, size[0] // 8, size[1] // 8),
        preview.request,
        lambda noisy, times: family.predict(model, noisy, times, conditions),
        "cpu",
    )
    decoded = vae.decode(latents / vae.config.scaling_factor).sample[0]
    return (decoded.permute(1, 2, 0) / 2 + 0.5).clamp(0, 1).numpy()


def diffusers_pixels(pipeline: Any, config: LoraConfig) -> Pixels:
    """The same sample by diffusers (H W 3, 0 to 1)."""
    (preview,) = previews_of(config)
    request = preview.request
    return pipeline(
        prompt=preview.positive,
        negative_prompt=preview.negative,
        height=request.height,
        width=request.width,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance,
        generator=torch.Generator().manual_seed(request.seed),
        output_type="np",
    ).images[0]


def pipeline_of(family: str, base: Path) -> Any:
    pipeline = PIPELINES[family].from_pretrained(str(base), local_files_only=True, safety_checker=None)
    pipeline.scheduler = sampling.sampler(
        Model(family, {}, {}, dict(pipeline.scheduler.config))
    )  # the pipeline's own, PNDM or Euler, takes other steps
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def finished(train: Train, *arguments: Any) -> tuple[Job, Path, LoraConfig]:
    job, ending = train(*arguments)
    assert isinstance(ending, Finished), ending
    return job, Path(ending.path), read_config(LoraConfig, job.workspace / "run.toml")


@pytest.mark.parametrize("network", ["lora", "locon"])
@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_diffusers_draws_the_trainers_own_pictures(
    family: str, network: str, train: Train, bases: dict[str, Path]
) -> None:
    job, saved, config = finished(train, family, settings(family, network))
    (backup,) = (job.workspace / "backups").iterdir()
    ours = trainers_pixels(config, backup)
    with Image.open(job.workspace / "samples" / "step-00000004" / "00.png") as sample:
        difference = numpy.asarray(sample).astype(float) - ours * 255
    assert abs(difference).max() < 0.51, "the pixels that are compared are not those that the run drew"

    pipeline = pipeline_of(family, bases[family])
    without = diffusers_pixels(pipeline, config)
    pipeline.load_lora_weights(saved)
    theirs = diffusers_pixels(pipeline, config)
    assert abs(theirs - ours).max() < 1e-3
    assert abs(theirs - without).max() > 0.05


def test_smaller_number_formats_load_and_differ_little(train: Train, bases: dict[str, Path], tmp_path: Path) -> None:
    job, exact, config = finished(train, "sd15", settings("sd15", "lora"))
    (backup,) = (job.workspace / "backups").iterdir()
    drawn = {"fp32": draw_with(exact, bases["sd15"], config)}
    for name, dtype in (("fp16", torch.float16), ("bf16", torch.bfloat16)):
        changes = settings("sd15", "lora") | {"base": {"source": str(backup)}, "training": {"max_steps": 1}}
        changes["parts"] = {part: {"train": True, "learning_rate": 1e-30} for part in ("denoiser", "text_1")}
        changes |= {"sampling": {}, "saving": {"dtype": name, "workspace": str(tmp_path / name)}}
        _, smaller, _ = finished(train, "sd15", changes)  # the same weights, saved again

        tensors = load_file(smaller)
        assert {tensor.dtype for tensor in tensors.values()} == {dtype}
        assert smaller.stat().st_size < 0.7 * exact.stat().st_size
        for key, tensor in load_file(exact).items():
            torch.testing.assert_close(tensors[key].float(), tensor, rtol=2**-8, atol=1e-6)
        drawn[name] = draw_with(smaller, bases["sd15"], config)
        assert 0 < abs(drawn[name] - drawn["fp32"]).max() < 0.05


def draw_with(lora: Path, base: Path, config: LoraConfig) -> Pixels:
    pipeline = pipeline_of("sd15", base)
    pipeline.load_lora_weights(lora)
    return diffusers_pixels(pipeline, config)
