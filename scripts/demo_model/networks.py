"""Builds the demo model's parts, of the SD 1.5 architecture at small size, and saves them as a pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .tokenizer import LENGTH

TEXT_WIDTH = 96


def make_autoencoder() -> AutoencoderKL:
    """Pixels to a latent of 4 channels at an eighth of the size, as in SD 1.5."""
    channels = (24, 32, 64, 64)
    vae = AutoencoderKL(
        block_out_channels=channels,  # type: ignore[arg-type]
        down_block_types=("DownEncoderBlock2D",) * len(channels),  # type: ignore[arg-type]
        up_block_types=("UpDecoderBlock2D",) * len(channels),  # type: ignore[arg-type]
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
    )
    assert vae.quant_conv is not None
    with torch.no_grad():  # begin with little noise in the latent (a deviation of 0.08), or it learns no colours
        vae.quant_conv.weight[4:] = 0
        vae.quant_conv.bias[4:] = -5  # type: ignore[index]
    return vae


def make_unet() -> UNet2DConditionModel:
    """The denoiser on latents of 8 x 8: two levels with attention and one without."""
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(40, 72, 104),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=2,  # the number of heads, as SD 1.5 calls it
        norm_num_groups=8,
    )


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A CLIP text encoder of two layers."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            projection_dim=TEXT_WIDTH,
            bos_token_id=tokenizer.bos_token_id,  # type: ignore[arg-type]
            eos_token_id=tokenizer.eos_token_id,  # type: ignore[arg-type]
            pad_token_id=tokenizer.pad_token_id,  # type: ignore[arg-type]
        )
    )


def make_scheduler() -> DDIMScheduler:
    """SD 1.5's noise schedule."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )


def make_pipeline(
    vae: AutoencoderKL, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, unet: UNet2DConditionModel
) -> StableDiffusionPipeline:
    """The parts as one pipeline, without a safety checker."""
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=make_scheduler(),  # type: ignore[arg-type]
        safety_checker=None,  # type: ignore[arg-type]
        feature_extractor=None,  # type: ignore[arg-type]
        requires_safety_checker=False,
    )


def load_pipeline(folder: Path) -> StableDiffusionPipeline:
    """A pipeline folder, in float32."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def count_weights(*parts: torch.nn.Module) -> int:
    """How many weights the parts have together."""
    return sum(weight.numel() for part in parts for weight in part.parameters())


def save_small(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """Saves UNet and autoencoder in float16; the text encoder stays as it is, for transformers loads it as stored."""
    pipeline.unet.half()
    pipeline.vae.half()
    pipeline.save_pretrained(folder)
    for path in folder.rglob("*.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        if config.pop("_name_or_path", None):  # where it was trained is nobody's business
            path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
