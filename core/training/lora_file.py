"""Writes the LoRA: kohya's key names and metadata, so that ComfyUI, Forge, A1111 and diffusers load it."""

from __future__ import annotations

import glob
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from core.dataset.batches import Plan, Pool
from core.dataset.captions import tags_of
from core.errors import TrainingError
from core.training.encoding import DTYPES
from core.training.events import Message
from core.weights.files import kohya_hashes, write_safetensors

if TYPE_CHECKING:
    from core.training.loop import Progress
    from core.training.setup import Run

MODELSPEC = "1.0.1"


def write_lora(run: Run, path: Path, progress: Progress) -> list[Path]:
    """Write the LoRA as it is now: all files that come of it, `path` first.

    TrainingError if a value is not finite; a message if it changes nothing.
    """
    exported = run.network.export(run.lora_name)
    dtype = DTYPES[run.config.saving.dtype]
    tensors = {name: tensor.to(dtype) for name, tensor in exported.items()}
    check_finite(exported, tensors, run.config.saving.dtype)
    if not any(tensor.any() for name, tensor in tensors.items() if name.endswith(".lora_up.weight")):
        run.report(Message(level="warning", text=f"{path.name} changes nothing: all of its updates are zero."))
    metadata = training_metadata(run, progress) | run.network.metadata() | model_spec(run)
    metadata |= kohya_hashes(tensors, metadata)
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*.part"):  # of a run that was killed while it saved
        partial.unlink(missing_ok=True)
    write_safetensors(path, tensors, metadata, overwrite=True)  # what must not be replaced was checked before the start
    return [path]


def check_finite(exact: dict[str, Tensor], saved: dict[str, Tensor], dtype: str) -> None:
    """TrainingError if a tensor holds a value that is not finite, as trained or as it would be saved."""
    for name, tensor in saved.items():
        if torch.isfinite(tensor).all():
            continue
        if torch.isfinite(exact[name]).all():
            raise TrainingError(
                f"The LoRA can't be saved as {dtype}: {name} is too large for it.",
                do="Choose bf16 or fp32 as number format, and start the run again: it goes on from its backup.",
            )
        raise TrainingError(
            f"The LoRA is broken: {name} holds values that are not finite. It was not saved.",
            do="Lower the learning rate and start anew.",
        )


def training_metadata(run: Run, progress: Progress) -> dict[str, str]:
    """kohya's `ss_*` entries (train_network.py), as text."""
    return {
        f"ss_{name}": value if isinstance(value, str) else _text(value)
        for entries in (_run_entries(run, progress), _setting_entries(run), _dataset_entries(run), _base_entries(run))
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
        "training_comment": "trained with Ochre",
    }


def _setting_entries(run: Run) -> dict[str, object]:
    config = run.config
    gammas = [weighting.gamma for weighting in config.weightings if weighting.name == "min_snr"]  # type: ignore[attr-defined]
    optimizer = type(run.optimizer)
    return {
        "gradient_checkpointing": config.memory.gradient_checkpointing,
        "gradient_accumulation_steps": config.training.gradient_accumulation_steps,
        "lr_scheduler": config.schedule.name,
        "lr_warmup_steps": config.schedule.warmup(run.total_steps),
        "optimizer": f"{optimizer.__module__}.{optimizer.__qualname__}",
        "max_grad_norm": config.training.max_grad_norm,
        "mixed_precision": "no" if config.memory.precision == "fp32" else config.memory.precision,
        "seed": config.training.seed,
        "noise_offset": config.noise.noise_offset or None,
        "min_snr_gamma": gammas[0] if gammas else None,
        "loss_type": "l2",
        "clip_skip": config.base.clip_skip if config.base.clip_skip > 1 else None,
        "zero_terminal_snr": run.model.zero_terminal_snr,
        "cache_latents": config.memory.latent_caching,
        "max_token_length": None if config.base.max_token_length == 75 else config.base.max_token_length,
    }


def _dataset_entries(run: Run) -> dict[str, object]:
    config, pools = run.config, run.plan.pools
    buckets, training = config.buckets, config.training
    shown = [config.concepts[pool.concept] for pool in pools]
    regularisation = [pool for pool in pools if config.concepts[pool.concept].kind == "regularisation"]
    learned = [pool for pool in pools if pool not in regularisation]
    resolution = buckets.largest()
    return {
        "num_train_images": sum(round(pool.per_epoch) for pool in learned),
        "num_reg_images": sum(round(pool.per_epoch) for pool in regularisation),
        "dataset_dirs": _folders(run, learned),
        "reg_dataset_dirs": _folders(run, regularisation),
        "tag_frequency": _tag_frequency(run),
        "bucket_info": _bucket_info(run.plan),
        "batch_size_per_device": training.train_batch_size,
        "total_batch_size": training.train_batch_size * training.gradient_accumulation_steps,
        "resolution": f"({resolution.width}, {resolution.height})",
        "enable_bucket": buckets.aspect_ratio_bucketing,
        "bucket_no_upscale": buckets.no_upscale,
        "min_bucket_reso": buckets.minimum,
        "max_bucket_reso": buckets.maximum,
        "flip_aug": any(concept.image.flip == "random" for concept in shown),
        "shuffle_caption": any(concept.text.shuffle_tags for concept in shown),
        "keep_tokens": max((concept.text.keep_tags for concept in shown), default=0),
        "caption_dropout_rate": max((concept.text.caption_dropout for concept in shown), default=0.0),
        "prior_loss_weight": next((c.loss_weight for c in shown if c.kind == "regularisation"), 1.0),
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


def _base_entries(run: Run) -> dict[str, object]:
    return {
        "v2": False,
        "base_model_version": run.family.base_model_version,
        "sd_model_name": run.base.path.name,
        **run.base.hashes,
    }


def model_spec(run: Run) -> dict[str, str]:
    """The `modelspec.*` entries (Stability's ModelSpec 1.0.1), as kohya writes them."""
    resolution = run.config.buckets.largest()
    trigger = next((concept.trigger_word for concept in run.config.concepts if concept.trigger_word), "")
    entries = {
        "sai_model_spec": MODELSPEC,
        "architecture": f"{run.family.modelspec_architecture}/lora",
        "implementation": run.family.modelspec_implementation,
        "title": run.output_stem,
        "date": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "resolution": f"{resolution.width}x{resolution.height}",
        "prediction_type": "v" if run.model.prediction == "v_prediction" else "epsilon",
        "trigger_phrase": trigger,
    }
    return {f"modelspec.{name}": value for name, value in entries.items() if value}
