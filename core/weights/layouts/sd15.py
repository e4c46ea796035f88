"""Stable Diffusion 1.x in files: LDM's single-file checkpoint, and kohya's LoRA under diffusers' names."""

from __future__ import annotations

from core.weights.layouts.clip import canonical_clip_names
from core.weights.layouts.layout import PartLayout
from core.weights.layouts.unet import unet_to_diffusers, unet_to_original
from core.weights.layouts.vae import vae_to_diffusers, vae_to_original

LAYOUT = {
    "denoiser": PartLayout("model.diffusion_model.", unet_to_diffusers, unet_to_original, ("lora_unet_",)),
    "vae": PartLayout("first_stage_model.", vae_to_diffusers, vae_to_original),
    "text_1": PartLayout(
        "cond_stage_model.transformer.", canonical_clip_names, canonical_clip_names, ("lora_te_", "lora_te1_")
    ),
}
