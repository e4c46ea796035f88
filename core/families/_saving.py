"""Writes a Stable Diffusion model as a diffusers folder, or as a single file in the original layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.contracts import Model
from core.families._loading import FOLDERS, TOKENIZERS
from core.families._stable_diffusion import CONFIGS


def save_folder(model: Model, folder: Path) -> Path:
    """Write every part, tokenizer and config; diffusers' pipelines read it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(_index(model), indent=2), encoding="utf-8")
    module: Any
    for part, module in model.parts.items():
        module.save_pretrained(folder / FOLDERS[part])
    for part, tokenizer in model.tokenizers.items():
        tokenizer.save_pretrained(folder / TOKENIZERS[part])
    schedule = {
        **model.noise_schedule,
        "prediction_type": model.prediction,
        "rescale_betas_zero_snr": model.zero_terminal_snr,
    }
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(schedule, indent=2), encoding="utf-8")
    return folder


def _index(model: Model) -> dict[str, Any]:
    """What diffusers' pipelines read first: their own name, and their parts."""
    index = json.loads((CONFIGS / model.family / "model_index.json").read_text(encoding="utf-8"))
    if model.inpainting:
        from diffusers import __version__

        index["_class_name"] = index["_class_name"].replace("Pipeline", "InpaintPipeline")
        index["_diffusers_version"] = __version__  # which the inpainting pipelines ask for
    return index


def save_single_file(model: Model, path: Path, metadata: Mapping[str, str] | None = None) -> Path:
    """Write every part into one .safetensors file, with the markers of v-prediction and zero terminal SNR."""
    import torch

    from core.weights.files import write_safetensors
    from core.weights.layouts import join_single_file
    from core.weights.layouts.clip import canonical_clip_names

    parts = {}
    for part, module in model.parts.items():
        state = module.state_dict()
        parts[part] = canonical_clip_names(state) if part.startswith("text_") else state
    tensors = join_single_file(parts, model.family)
    if model.prediction == "v_prediction":
        tensors["v_pred"] = torch.tensor([])
    if model.zero_terminal_snr:
        tensors["ztsnr"] = torch.tensor([])
    return write_safetensors(path, tensors, metadata or {}, overwrite=True)
