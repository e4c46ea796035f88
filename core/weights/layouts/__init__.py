"""Names of the same weights in different files: diffusers' folders, original single files, kohya's LoRAs."""

from core.weights.layouts.clip import fit_clip_names
from core.weights.layouts.kohya import kohya_lora_modules, kohya_lora_name
from core.weights.layouts.single_file import join_single_file, parts_in, read_part, read_vae, split_single_file
from core.weights.layouts.unet import UNetShape

__all__ = [
    "UNetShape",
    "fit_clip_names",
    "join_single_file",
    "kohya_lora_modules",
    "kohya_lora_name",
    "parts_in",
    "read_part",
    "read_vae",
    "split_single_file",
]
