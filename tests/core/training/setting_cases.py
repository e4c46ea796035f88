"""For each setting of a run another value, and what has to be set for it to apply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """value: what the setting is changed to. given: path -> value of what is set besides. family: of the base."""

    value: Any
    given: Mapping[str, Any] = field(default_factory=dict)
    family: str = "sd15"


WHOLE = {"training.max_steps": 0, "training.epochs": 3}
"""Three whole epochs: a picture is shown several times."""

TEXT_1 = {"parts.text_1.train": "yes"}
TEXT_2 = {"parts.text_2.train": "yes"}
MASKED = {"concepts.0.image.mask": "file"}
TAGS = {"concepts.0.text.tag_dropout": "full", "concepts.0.text.tag_dropout_probability": 0.6}
LISTED = {**TAGS, "concepts.0.text.tag_dropout_mode": "only", "concepts.0.text.tag_dropout_list": ["blue"]}
FREE = {"memory.text_caching": False}
EMA = {"ema.where": "cpu", "ema.decay": 0.5}
HELD = {"validation.share": 0.3, "validation.every": "1 step"}
DRAWN = {
    "sampling.prompts": [{"prompt": "a {trigger}", "negative": "a cat", "width": 32, "height": 32}],
    "sampling.steps": 2,
}
LARGE = {
    "concepts.0.folder": "{large}", "buckets.resolution": "64", "concepts.0.image.detail_crops.enabled": True,
    "concepts.0.image.detail_crops.tile_resolution": 128, "concepts.0.image.detail_crops.overlap": 16,
    "training.max_steps": 0, "training.epochs": 1, "training.train_batch_size": 8,
}  # fmt: skip


def strength(change: str, value: float) -> dict[str, Case]:
    return {
        f"concepts.0.image.{change}": Case("fixed"),
        f"concepts.0.image.{change}_strength": Case(value, {f"concepts.0.image.{change}": "fixed"}),
    }


CASES: Mapping[str, Case] = {
    "base.source": Case("{other base}"),
    "base.prediction": Case("v_prediction"),
    "base.zero_terminal_snr": Case("yes", {"base.prediction": "v_prediction"}),
    "base.vae": Case("{other base}"),
    "base.clip_skip": Case(2),
    "base.max_token_length": Case(150),
    "base.weighted_prompts": Case(True, {"concepts.0.text.prefix": "(red:1.4)"}),
    "parts.denoiser.train": Case("no", TEXT_1),
    "parts.denoiser.learning_rate": Case(1e-2),
    "parts.denoiser.stop_after": Case("1 step", TEXT_1),
    "parts.text_1.train": Case("yes"),
    "parts.text_1.learning_rate": Case(1e-3, TEXT_1),
    "parts.text_1.stop_after": Case("1 step", TEXT_1),
    "parts.text_1.layer_skip": Case(1),
    "parts.text_1.dropout": Case(0.9),
    "parts.text_2.train": Case("yes", family="sdxl"),
    "parts.text_2.learning_rate": Case(1e-3, TEXT_2, "sdxl"),
    "parts.text_2.stop_after": Case("1 step", TEXT_2, "sdxl"),
    "parts.text_2.layer_skip": Case(1, family="sdxl"),
    "parts.text_2.dropout": Case(0.9, family="sdxl"),
    "concepts.0.name": Case("bowls", {**HELD}),
    "concepts.0.folder": Case("{large}"),
    "concepts.0.subfolders": Case(True),
    "concepts.0.enabled": Case(False, {"concepts.1.folder": "{large}"}),
    "concepts.0.kind": Case("prior_prediction", {"concepts.1.folder": "{large}"}),
    "concepts.0.trigger_word": Case("zqx"),
    "concepts.0.repeats": Case(2.0),
    "concepts.0.samples_per_epoch": Case(3),
    "concepts.0.loss_weight": Case(0.5),
    "concepts.0.resolution": Case("64"),
    "concepts.0.image_variations": Case(3, {"concepts.0.image.flip": "random", **WHOLE}),
    "concepts.0.text_variations": Case(3, {"concepts.0.text.shuffle_tags": True, **WHOLE}),
    "concepts.0.image.flip": Case("fixed"),
    "concepts.0.image.crop_jitter": Case(True, {"buckets.aspect_ratio_bucketing": False}),
    "concepts.0.image.rotate": Case("fixed"),
    "concepts.0.image.rotate_angle": Case(20.0, {"concepts.0.image.rotate": "fixed"}),
    **strength("brightness", 0.4),
    **strength("contrast", 0.4),
    **strength("saturation", 0.4),
    **strength("hue", 0.3),
    "concepts.0.image.alpha_colour": Case("#102030"),
    "concepts.0.image.mask": Case("file"),
    "concepts.0.image.unmasked_weight": Case(0.6, {**MASKED, "concepts.0.image.unmasked_probability": 0.0}),
    "concepts.0.image.unmasked_probability": Case(1.0, MASKED),
    "concepts.0.image.normalize_masked_area_loss": Case(True, {**MASKED, "concepts.0.image.unmasked_probability": 0.0}),
    "concepts.0.image.masked_prior_preservation_weight": Case(
        50.0, {**MASKED, "concepts.0.image.unmasked_probability": 0.0}
    ),
    "concepts.0.image.conditioning": Case(True, family="sd15 inpainting"),
    "concepts.0.image.detail_crops.enabled": Case(False, LARGE),
    "concepts.0.image.detail_crops.tile_resolution": Case(192, LARGE),
    "concepts.0.image.detail_crops.overlap": Case(64, LARGE),
    "concepts.0.image.detail_crops.scales": Case([2], LARGE),
    "concepts.0.image.detail_crops.include_full_images": Case(False, LARGE),
    "concepts.0.image.detail_crops.include_context_tiles": Case(True, LARGE),
    "concepts.0.image.detail_crops.blank_std_threshold": Case(
        128.0, {**LARGE, "concepts.0.image.detail_crops.blank_edge_threshold": 0.9}
    ),
    "concepts.0.image.detail_crops.blank_edge_threshold": Case(
        0.9, {**LARGE, "concepts.0.image.detail_crops.blank_std_threshold": 128.0}
    ),
    "concepts.0.image.detail_crops.regenerate_each_epoch": Case(True, {**LARGE, "training.epochs": 3}),
    "concepts.0.text.prompt_source": Case("file_name"),
    "concepts.0.text.prompt_path": Case(
        "{other prompts}", {"concepts.0.text.prompt_source": "prompt_file", "concepts.0.text.prompt_path": "{prompts}"}
    ),
    "concepts.0.text.metadata_path": Case(
        "{other metadata}",
        {"concepts.0.text.prompt_source": "metadata_file", "concepts.0.text.metadata_path": "{metadata}"},
    ),
    "concepts.0.text.caption_extension": Case(".caption"),
    "concepts.0.text.caption_lines": Case("first"),
    "concepts.0.text.prefix": Case("painting"),
    "concepts.0.text.suffix": Case("painting"),
    "concepts.0.text.separator": Case(";", {"concepts.0.text.shuffle_tags": True}),
    "concepts.0.text.secondary_separator": Case(";;;"),
    "concepts.0.text.shuffle_tags": Case(True),
    "concepts.0.text.keep_tags": Case(2, {"concepts.0.text.shuffle_tags": True}),
    "concepts.0.text.keep_tags_separator": Case("|||", {"concepts.0.text.shuffle_tags": True}),
    "concepts.0.text.tag_dropout": Case("random", {"concepts.0.text.tag_dropout_probability": 0.6}),
    "concepts.0.text.tag_dropout_probability": Case(1.0, TAGS),
    "concepts.0.text.tag_dropout_mode": Case("never", LISTED),
    "concepts.0.text.tag_dropout_list": Case(["a ball"], LISTED),
    "concepts.0.text.tag_dropout_regex": Case(
        True, {**LISTED, "concepts.0.text.tag_dropout_list": ["b.*"], "concepts.0.text.tag_dropout_probability": 1.0}
    ),
    "concepts.0.text.caption_dropout": Case(1.0),
    "concepts.0.text.wildcards": Case(True),
    "buckets.resolution": Case("64"),
    "buckets.aspect_ratio_bucketing": Case(False, {"training.max_steps": 0, "buckets.step": 32}),
    "buckets.step": Case(32),
    "buckets.minimum": Case(128, {"training.max_steps": 0, "buckets.step": 32}),
    "buckets.maximum": Case(128, {"buckets.minimum": 64}),
    "buckets.no_upscale": Case(True, {"buckets.resolution": "192", "buckets.maximum": 512}),
    "buckets.remainder": Case("drop", {"training.max_steps": 0, "buckets.step": 32}),
    "training.epochs": Case(1, {"training.max_steps": 0, "buckets.step": 32}),
    "training.max_steps": Case(1),
    "training.train_batch_size": Case(1),
    "training.gradient_accumulation_steps": Case(2),
    "training.max_grad_norm": Case(1e-3),
    "training.seed": Case(43),
    "training.stochastic_rounding": Case(False, {"networks.0.weight_dtype": "bf16"}),
    "noise.noise_offset": Case(0.1),
    "noise.noise_offset_random_strength": Case(True, {"noise.noise_offset": 0.1}),
    "noise.adaptive_noise_scale": Case(0.2, {"noise.noise_offset": 0.1}),
    "noise.generalized_offset_noise": Case(True, {"noise.noise_offset": 0.1}),
    "noise.multires_noise_iterations": Case(4),
    "noise.multires_noise_discount": Case(0.8, {"noise.multires_noise_iterations": 4}),
    "noise.ip_noise_gamma": Case(0.2),
    "noise.ip_noise_gamma_random_strength": Case(True, {"noise.ip_noise_gamma": 0.2}),
    "times.strata": Case(4),
    "memory.precision": Case("bf16"),
    "memory.latent_caching": Case(False, {"concepts.0.image.flip": "random", **WHOLE}),
    "memory.text_caching": Case(False, {"concepts.0.text.shuffle_tags": True}),
    "memory.encode_batch_size": Case(3),
    "memory.vae_tiling": Case(True),
    "memory.cache_dir": Case("{tmp}/other-cache"),
    "saving.workspace": Case("{tmp}/elsewhere"),
    "saving.name": Case("other"),
    "saving.destination": Case("{tmp}/destination"),
    "saving.dtype": Case("bf16"),
    "saving.every": Case("1 step"),
    "saving.skip_first": Case("2 steps", {"saving.every": "1 step"}),
    "saving.keep_last": Case(1, {"saving.every": "1 step", "training.max_steps": 4}),
    "saving.backup_every": Case("1 step", {"saving.keep_backups": 9}),
    "saving.keep_backups": Case(9, {"saving.backup_every": "1 step"}),
    "sampling.prompts": Case([{"prompt": "a dog", "width": 32, "height": 32}], DRAWN),
    "sampling.prompts.0.prompt": Case("a dog", DRAWN),
    "sampling.prompts.0.negative": Case("a dog", DRAWN),
    "sampling.prompts.0.width": Case(64, DRAWN),
    "sampling.prompts.0.height": Case(64, DRAWN),
    "sampling.prompts.0.shape": Case("portrait", {"sampling.prompts": [{"prompt": "a dog"}], "sampling.steps": 2}),
    "sampling.prompts.0.seed": Case(5, DRAWN),
    "sampling.prompts.0.random_seed": Case(True, DRAWN),
    "sampling.prompts.0.steps": Case(3, DRAWN),
    "sampling.prompts.0.guidance": Case(3.0, DRAWN),
    "sampling.prompts.0.sampler": Case("euler", DRAWN),
    "sampling.prompts_file": Case("{sample prompts}", {"sampling.steps": 2}),
    "sampling.before_first_step": Case(False, DRAWN),
    "sampling.every": Case("1 step", DRAWN),
    "sampling.skip_first": Case("2 steps", {**DRAWN, "sampling.every": "1 step"}),
    "sampling.sampler": Case("euler", DRAWN),
    "sampling.steps": Case(3, DRAWN),
    "sampling.guidance": Case(3.0, DRAWN),
    "metadata.title": Case("A ball"),
    "metadata.author": Case("Ada"),
    "metadata.description": Case("Balls."),
    "metadata.license": Case("MIT"),
    "metadata.tags": Case("round, blue"),
    "metadata.trigger_phrase": Case("zqx"),
    "metadata.usage_hint": Case("0.8"),
    "metadata.comment": Case("first try"),
    "metadata.cover": Case("last sample", DRAWN),
    "metadata.include_config": Case("settings"),
    "metadata.minimal": Case(True),
    "metadata.model_card": Case(True),
    "validation.share": Case(0.4),
    "validation.every": Case("1 step", {"validation.share": 0.3}),
    "validation.times": Case(2, HELD),
    "validation.at": Case([300], HELD),
    "validation.seed": Case(7, HELD),
    "validation.save_best": Case(True, HELD),
    "ema.where": Case("cpu", {"ema.decay": 0.5}),
    "ema.decay": Case(0.1, {**EMA, "ema.warmup": False}),
    "ema.warmup": Case(False, EMA),
    "ema.update_every": Case(2, EMA),
    "ema.sample": Case("ema", {**EMA, **DRAWN}),
    "ema.save": Case("ema", EMA),
    "logging.tensorboard": Case(True),
    "logging.every_n_steps": Case(1, {"logging.tensorboard": True, "training.max_steps": 4}),
}
"""Setting -> case. `0` in a path is the first entry of a list."""

ELSEWHERE: Mapping[str, str] = {
    "version": "core/config/test_migrations.py",
    "job": "core/config/test_toml_file.py",
    "base.family": "core/training/test_bad_input.py",
    "base.loras.0.file": "core/training/test_network_settings.py",
    "base.loras.0.strength": "core/weights/test_lora_changes.py",
    "concepts.0.text.caps": "core/dataset/test_captions.py",  # CLIP reads capitals as small letters
    "concepts.0.text.caps_probability": "core/dataset/test_captions.py",
    "saving.overwrite": "core/training/test_planning.py",
    "logging.wandb": "core/training/test_weights_and_biases.py",
    "logging.wandb_project": "core/training/test_weights_and_biases.py",
    "logging.wandb_run_name": "core/training/test_weights_and_biases.py",
}
"""Settings of which a run like these shows nothing -> the test file that holds them."""
