"""Memory against speed."""

from __future__ import annotations

from typing import Literal

from core.settings import Settings, setting

Dtype = Literal["fp32", "bf16", "fp16"]


class Memory(Settings):
    """Memory against speed. These change the numbers only where they say so."""

    precision: Dtype = setting(
        "bf16",
        "Precision",
        "Numbers of the calculation. bf16 for GPUs since 2020 (RTX 30 and later), fp16 for older; fp32 is exact, slow.",
        also=("mixed_precision",),
    )
    gradient_checkpointing: bool = setting(
        True,
        "Gradient checkpointing",
        "Computes parts twice instead of keeping them: much less memory, about 25 % slower.",
        affects="cost",
    )
    fused_backward: bool = setting(
        False,
        "Fused backward pass",
        "Changes each weight as soon as its gradient is there and forgets the gradient: less memory where much is "
        "trained. Not with gradient accumulation, clipping or fp16, and not with every optimizer.",
        affects="cost",
        level="advanced",
        also=("fused_backward_pass", "fused_back_pass", "blockwise_fused_optimizers", "fused_optimizer_groups"),
    )
    latent_caching: bool = setting(
        True,
        "Cache pictures",
        "Encodes each version of a picture once and keeps it on disk, so that the VAE can leave memory. Off: each "
        "showing is encoded, and changed at random anew.",
        was="cache_latents",
        also=("cache_latents", "cache_latents_to_disk"),
    )
    text_caching: bool = setting(
        True,
        "Cache captions",
        "Encodes each version of a caption once, for text encoders that aren't trained, so that they can leave memory. "
        "Off: each showing is encoded, and shuffled anew.",
        was="cache_text",
        also=("cache_text_encoder_outputs",),
    )
    encode_batch_size: int = setting(
        1,
        "Encode at once",
        "Pictures that the VAE encodes together while caching.",
        ge=1,
        le=64,
        level="advanced",
        also=("vae_batch_size",),
    )
    vae_tiling: bool = setting(
        False,
        "VAE in tiles",
        "Encodes and decodes large pictures in tiles: less memory, tiny differences at the seams.",
        level="advanced",
    )
    cache_dir: str = setting(
        "",
        "Cache folder",
        "Where encoded pictures and captions are kept; empty is `cache` beside the workspaces, which all runs share.",
        kind="folder",
        was="cache_folder",
        affects="files",
        level="advanced",
    )
