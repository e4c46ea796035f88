"""What a LoRA's file tells of itself: kohya's `ss_*` entries, ModelSpec, and the run's config if the user wishes."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.config.sections.metadata import Metadata
from core.config.toml_file import to_toml
from core.dataset.batches import Plan, Pool
from core.dataset.captions import tags_of
from core.dataset.validation import validation_draws
from core.networks._adapter import Adapter
from core.networks.embedding import Embedding
from core.settings import Settings, info
from core.settings.cadence import parse_cadence
from core.training.cover import cover_of
from core.weights.files import legacy_hash, sha256_of
from core.weights.sources import resolve

if TYPE_CHECKING:
    from core.config.lora import LoraConfig
    from core.dataset.settings import Concept
    from core.training.loop import Progress
    from core.training.setup import Run

MODELSPEC = "1.0.1"

NEEDED = ("v2", "base_model_version", "network_module", "network_dim", "network_alpha", "network_args")
"""kohya's entries by which programs load a file, which it writes with `--no_metadata` too."""

CONFIG = "ochre_config"
"""The entry that holds the config."""


def file_metadata(run: Run, progress: Progress) -> dict[str, str]:
    """All entries of the LoRA's file but its hashes."""
    told = run.config.metadata
    entries = training_metadata(run, progress) | run.network.metadata()
    if told.minimal:
        entries = {f"ss_{name}": entries[f"ss_{name}"] for name in NEEDED if f"ss_{name}" in entries}
    entries |= model_spec(run)
    if told.include_config != "none":
        entries[CONFIG] = to_toml(run.config if told.include_config == "all" else without_places(run.config))
    return entries


def training_metadata(run: Run, progress: Progress) -> dict[str, str]:
    """kohya's `ss_*` entries (train_network.py) as text: `str()` of each value, JSON of lists and tables."""
    found = (
        _run_entries(run, progress), _setting_entries(run), _noise_entries(run.config), _loss_entries(run.config),
        _validation_entries(run), _dataset_entries(run), _base_entries(run),
    )  # fmt: skip
    return {
        f"ss_{name}": value if isinstance(value, str) else _text(value)
        for entries in found
        for name, value in entries.items()
    }


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _run_entries(run: Run, progress: Progress) -> dict[str, object]:
    rates = run.config.parts.rates()
    text_rates = [rate for part, rate in rates.items() if part.startswith("text")]
    return {
        "session_id": run.session,
        "training_started_at": run.started_at,
        "training_finished_at": time.time(),
        "output_name": run.output_stem,
        "learning_rate": rates.get("denoiser", text_rates[0] if text_rates else 0.0),
        "unet_lr": rates.get("denoiser"),
        "text_encoder_lr": text_rates[0] if len(text_rates) == 1 else text_rates or None,
        "num_epochs": run.config.training.epochs,
        "epoch": progress.epoch,
        "steps": progress.step,
        "max_train_steps": run.total_steps,
        "num_batches_per_epoch": run.plan.steps_per_epoch(0),
        "training_comment": run.config.metadata.comment or "trained with Ochre",
    }


def _setting_entries(run: Run) -> dict[str, object]:
    config, memory, training = run.config, run.config.memory, run.config.training
    limits = [network.norm_limit() for network in config.networks if isinstance(network, Adapter)]
    return {
        "gradient_checkpointing": memory.gradient_checkpointing,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "lr_scheduler": config.schedule.name,
        "lr_warmup_steps": config.schedule.warmup(run.total_steps),
        "optimizer": _optimizer(run),
        "max_grad_norm": training.max_grad_norm,
        "scale_weight_norms": next(filter(None, limits), None),
        "mixed_precision": "no" if memory.precision == "fp32" else memory.precision,
        "full_fp16": False,  # the trained weights aren't
        "fp8_base": False,
        "fp8_base_unet": False,
        "lowram": False,
        "seed": training.seed,
        "clip_skip": config.base.clip_skip if config.base.clip_skip > 1 else None,
        "max_token_length": None if config.base.max_token_length == 75 else config.base.max_token_length,
        "cache_latents": memory.latent_caching,
        "zero_terminal_snr": run.model.zero_terminal_snr,
    }


def _optimizer(run: Run) -> str:
    """The optimizer's class, and its settings in brackets, as kohya writes its arguments."""
    cls = type(run.optimizer)
    settings = run.config.optimizer.model_dump(exclude={"name"})
    told = ",".join(f"{name}={value}" for name, value in settings.items())
    return f"{cls.__module__}.{cls.__qualname__}" + (f"({told})" if told else "")


def _noise_entries(config: LoraConfig) -> dict[str, object]:
    noise = config.noise
    levels = noise.multires_noise_iterations
    return {
        "noise_offset": noise.noise_offset or None,
        "noise_offset_random_strength": noise.noise_offset_random_strength,
        "adaptive_noise_scale": noise.adaptive_noise_scale or None,
        "multires_noise_iterations": levels or None,
        "multires_noise_discount": noise.multires_noise_discount if levels else None,
        "ip_noise_gamma": noise.ip_noise_gamma or None,
        "ip_noise_gamma_random_strength": noise.ip_noise_gamma_random_strength,
    }


def _loss_entries(config: LoraConfig) -> dict[str, object]:
    """kohya has one loss; of a sum the names stand with their weights, and the first threshold's settings."""
    losses = [loss for loss in config.losses if loss.weight]
    threshold: Any = next((loss for loss in losses if hasattr(loss, "huber_c")), None)
    gammas = [weighting.gamma for weighting in config.weightings if weighting.name == "min_snr"]  # type: ignore[attr-defined]
    names = [loss.name if len(losses) == 1 else f"{loss.weight:g} {loss.name}" for loss in losses]
    return {
        "loss_type": " + ".join(names),
        "huber_schedule": getattr(threshold, "huber_schedule", None),
        "huber_c": getattr(threshold, "huber_c", None),
        "huber_scale": getattr(threshold, "huber_scale", None),
        "min_snr_gamma": gammas[0] if gammas else None,
        "debiased_estimation": any(weighting.name == "debiased" for weighting in config.weightings),
    }


def _validation_entries(run: Run) -> dict[str, object]:
    told, pictures = run.config.validation, sum(1 for _ in validation_draws(run.plan))
    every = parse_cadence(told.every)
    return {
        "num_validation_images": pictures,
        "validation_seed": told.seed if pictures else None,
        "validation_split": told.share,
        "max_validation_steps": None,
        "validate_every_n_epochs": next(iter(every.epochs), None) if pictures else None,
        "validate_every_n_steps": next(iter(every.steps), None) if pictures else None,
    }


# -- pictures


def _dataset_entries(run: Run) -> dict[str, object]:
    config, pools = run.config, run.plan.pools
    shown = [config.concepts[pool.concept] for pool in pools]
    regularisation = [pool for pool in pools if config.concepts[pool.concept].kind == "regularisation"]
    learned = [pool for pool in pools if pool not in regularisation]
    dropped = [c.text.tag_dropout_probability for c in shown if c.text.tag_dropout != "off"]
    whole, largest = _whole_dataset(run, learned, regularisation), config.buckets.largest()
    size = [largest.width, largest.height]
    return {
        **whole,
        **_of_all(shown),
        "dataset_dirs": _folders(run, learned),
        "reg_dataset_dirs": _folders(run, regularisation),
        "total_batch_size": config.training.train_batch_size * config.training.gradient_accumulation_steps,
        "caption_dropout_rate": max((concept.text.caption_dropout for concept in shown), default=0.0),
        "caption_dropout_every_n_epochs": 0,
        "caption_tag_dropout_rate": max(dropped, default=0.0),
        "face_crop_aug_range": None,
        "prior_loss_weight": next((c.loss_weight for c in shown if c.kind == "regularisation"), 1.0),
        "datasets": [
            {"is_dreambooth": True, **whole, "resolution": size, "subsets": [_subset(run, pool) for pool in pools]}
        ],
    }


def _whole_dataset(run: Run, learned: Sequence[Pool], regularisation: Sequence[Pool]) -> dict[str, object]:
    buckets, resolution = run.config.buckets, run.config.buckets.largest()
    return {
        "num_train_images": sum(round(pool.per_epoch) for pool in learned),
        "num_reg_images": sum(round(pool.per_epoch) for pool in regularisation),
        "batch_size_per_device": run.config.training.train_batch_size,
        "resolution": f"({resolution.width}, {resolution.height})",
        "enable_bucket": buckets.aspect_ratio_bucketing,
        "bucket_no_upscale": buckets.no_upscale,
        "min_bucket_reso": buckets.minimum,
        "max_bucket_reso": buckets.maximum,
        "resize_interpolation": "lanczos",
        "tag_frequency": _tag_frequency(run),
        "bucket_info": _bucket_info(run.plan),
    }


def _of_all(concepts: Iterable[Concept]) -> dict[str, object]:
    """What kohya tells of a data set as a whole: whether it is so for any concept."""
    each = [_changes(concept) for concept in concepts]
    return {name: max((one[name] for one in each), default=False) for name in _changes(None)}


def _changes(concept: Concept | None) -> dict[str, Any]:
    """What is done to a concept's pictures and captions, in kohya's words; for None nothing is."""
    if concept is None:
        names = ("color_aug", "flip_aug", "random_crop", "shuffle_caption")
        return dict.fromkeys(names, False) | {"keep_tokens": 0}
    image, text = concept.image, concept.text
    colours = (image.brightness, image.contrast, image.saturation, image.hue)
    return {
        "color_aug": any(change != "off" for change in colours),
        "flip_aug": image.flip == "random",
        "random_crop": image.crop_jitter,
        "shuffle_caption": text.shuffle_tags,
        "keep_tokens": text.keep_tags,
    }


def _subset(run: Run, pool: Pool) -> dict[str, object]:
    """A concept, as kohya tells of a subset."""
    concept = run.config.concepts[pool.concept]
    text = concept.text
    return {
        "img_count": len(pool.entries),
        "num_repeats": round(pool.per_epoch / len(pool.entries)) or 1,
        **_changes(concept),
        "keep_tokens_separator": text.keep_tags_separator,
        "secondary_separator": text.secondary_separator,
        "enable_wildcard": text.wildcards,
        "caption_prefix": text.prefix or None,
        "caption_suffix": text.suffix or None,
        "image_dir": Path(concept.folder).name,
        "class_tokens": concept.trigger_word or None,
        "is_reg": concept.kind == "regularisation",
    }


def _bucket_info(plan: Plan) -> dict[str, object]:
    sizes = sorted((size.width, size.height, count) for size, count in plan.bucket_counts().items())
    return {
        "buckets": {
            str(index): {"resolution": [width, height], "count": count}
            for index, (width, height, count) in enumerate(sizes)
        }
    }


def _folders(run: Run, pools: Sequence[Pool]) -> dict[str, object]:
    """Folder name -> how often and how many; only the last part of a path, which is nobody's secret."""
    return {
        Path(run.config.concepts[pool.concept].folder).name: {
            "n_repeats": round(pool.per_epoch / len(pool.entries)) or 1,
            "img_count": len(pool.entries),
        }
        for pool in pools
    }


def _tag_frequency(run: Run) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for pool in run.plan.pools:
        concept = run.config.concepts[pool.concept]
        if concept.kind == "standard":
            own = (caption for index in pool.entries for caption in run.entries[index].captions)
            found = counts.setdefault(Path(concept.folder).name, Counter())
            for caption in run.plan.lines.get(pool.concept, own):
                found.update(tags_of(caption, concept.text.separator))
    return {folder: dict(counter) for folder, counter in counts.items()}


# -- the base


def _base_entries(run: Run) -> dict[str, object]:
    """kohya's names of the base and of another VAE: a file's name, or a name on the hub."""
    base = run.config.base
    entries: dict[str, object] = {
        "v2": False,
        "base_model_version": run.family.base_model_version,
        "sd_model_name": run.base.name,
        **run.base.hashes,
    }
    if base.vae:
        entries["vae_name"] = Path(base.vae).name if Path(base.vae).exists() else base.vae
        path = resolve(base.vae)
        entries |= _vae_hashes(path, path.stat().st_mtime_ns)
    return entries


@cache
def _vae_hashes(path: Path, modified: int) -> dict[str, str]:
    """kohya's two hashes of a file; none of a folder. It is read once, unless it is modified."""
    if path.is_dir():
        return {}
    return {"vae_hash": legacy_hash(path), "new_vae_hash": sha256_of(path)}


# -- ModelSpec


def model_spec(run: Run) -> dict[str, str]:
    """The `modelspec.*` entries (Stability's ModelSpec 1.0.1), as kohya writes them; those without a value left out."""
    told, kind = run.config.metadata, "lora" if run.config.adapts else "textual-inversion"
    entries = {
        "sai_model_spec": MODELSPEC,
        "architecture": f"{run.family.modelspec_architecture}/{kind}",
        "implementation": run.family.modelspec_implementation,
        "title": told.title or run.output_stem,
        "author": told.author,
        "description": told.description,
        "license": told.license,
        "tags": told.tags,
        "usage_hint": told.usage_hint,
    }
    if told.minimal:
        entries["trigger_phrase"] = told.trigger_phrase
    else:
        entries |= _told_of_the_run(run)
    entries["thumbnail"] = cover_of(run)
    return {f"modelspec.{name}": value for name, value in entries.items() if value}


def _told_of_the_run(run: Run) -> dict[str, str]:
    config, resolution = run.config, run.config.buckets.largest()
    first, end = config.times.first, config.times.end
    predictions = {"epsilon": "epsilon", "v_prediction": "v"}  # a flow model's has no name
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "resolution": f"{resolution.width}x{resolution.height}",
        "prediction_type": predictions.get(run.objective.prediction, ""),
        "timestep_range": f"{first},{end}" if (first, end) != (0, 1000) else "",
        "encoder_layer": str(config.base.clip_skip) if config.base.clip_skip > 1 else "",
        "trigger_phrase": trigger_phrase(config),
    }


def trigger_phrase(config: LoraConfig) -> str:
    """What makes the LoRA show in a prompt: the user's words, or embeddings' words and concepts' trigger words."""
    if config.metadata.trigger_phrase:
        return config.metadata.trigger_phrase
    words = [network.token for network in config.networks if isinstance(network, Embedding)]
    words += [c.trigger_word for c in config.concepts if c.enabled and c.kind == "standard" and c.trigger_word]
    return ", ".join(dict.fromkeys(words))


# -- the config


def without_places(config: LoraConfig) -> LoraConfig:
    """A config without its concepts and without anything that tells of this machine's folders."""
    bare = config.model_copy(deep=True)
    source = config.base.source
    _forget_places(bare)
    bare.concepts = []
    bare.base.source = Path(source).name if Path(source).exists() else source  # else a name on the hub
    if bare.metadata.cover not in Metadata.COVERS:
        bare.metadata.cover = Metadata().cover
    return bare


def _forget_places(settings: Settings) -> None:
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, Settings):
                _forget_places(inner)
        if info(field).kind in ("file", "folder", "path", "password"):
            setattr(settings, name, field.get_default(call_default_factory=True))
