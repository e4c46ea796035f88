"""Diffusers folders: what their JSON files say, and which of a part's weights files to take."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from core.errors import ModelFileError

INDEX = "model_index.json"

_STEM = r"(?:diffusion_pytorch_model|model|pytorch_model)"
_SHARD = r"(?:-\d{5}-of-\d{5})?"

# The spellings of a part's weights, best first; what training started from before what was rounded, or can hold code.
_PREFERRED = tuple(
    re.compile(f"{_STEM}{form}")
    for form in (
        rf"{_SHARD}\.safetensors",
        rf"(?:{_SHARD}\.fp16|\.fp16{_SHARD})\.safetensors",
        rf"{_SHARD}\.bin",
        rf"(?:{_SHARD}\.fp16|\.fp16{_SHARD})\.bin",
    )
)


def weights_files(names: Collection[str]) -> list[str]:
    """Of the names of all files in a part's folder, those that hold its weights: one, or the pieces of one."""
    for pattern in _PREFERRED:
        found = sorted(name for name in names if pattern.fullmatch(name))
        whole = [name for name in found if "-of-" not in name]
        if found:
            return whole[:1] or found
    return []


def read_configs(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """A folder's `model_index.json`, and part folder -> its config. ModelFileError if it is no diffusers folder."""
    if not (folder / INDEX).is_file():
        raise _no_model(folder)
    configs = {}
    for path in sorted(folder.glob("*/*config.json")):
        if path.name in ("config.json", "scheduler_config.json"):
            configs[path.parent.name] = _read_json(path)
    return _read_json(folder / INDEX), configs


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path} can't be read.", f"{error}.", "Download it again.") from error
    if not isinstance(content, Mapping):
        raise ModelFileError(f"{path} can't be read.", "It holds no table.", "Download it again.")
    return dict(content)


def _no_model(folder: Path) -> ModelFileError:
    files = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in (".safetensors", ".ckpt"))
    remedy = "Choose a folder with a model_index.json, or a model's file."
    if files:
        remedy = f"Choose one of the files in it: {', '.join(files[:5])}{' ...' if len(files) > 5 else ''}."
    elif (folder.parent / INDEX).is_file():
        remedy = f"Choose the folder around it: {folder.parent}."
    return ModelFileError(f"{folder} is not the folder of a whole model.", f"It has no {INDEX}.", remedy)
