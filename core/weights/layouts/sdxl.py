"""SDXL in files: SGM's single-file checkpoint, and kohya's LoRA with SGM's names for the UNet."""

from __future__ import annotations

from core.weights.layouts.clip import canonical_clip_names, openclip_to_transformers, transformers_to_openclip
from core.weights.layouts.layout import PartLayout
from core.weights.layouts.unet import UNetShape, unet_to_diffusers, unet_to_original
from core.weights.layouts.vae import vae_to_diffusers, vae_to_original

UNET = UNetShape(levels=3, layers=2, attended=frozenset({0, 1}))

LAYOUT = {
    "denoiser": PartLayout(
        "model.diffusion_model.", unet_to_diffusers, unet_to_original, ("lora_unet_",), lora_unet=UNET
    ),
    "vae": PartLayout("first_stage_model.", vae_to_diffusers, vae_to_original),
    "text_1": PartLayout(
        "conditioner.embedders.0.transformer.", canonical_clip_names, canonical_clip_names, ("lora_te1_",)
    ),
    "text_2": PartLayout(
        "conditioner.embedders.1.model.", openclip_to_transformers, transformers_to_openclip, ("lora_te2_",)
    ),
}
