"""What is written, where, and how often."""

from __future__ import annotations

from typing import Literal

from core.config.sections.memory import Dtype
from core.settings import Settings, setting


class Saving(Settings):
    """What is written, where, and how often."""

    workspace: str = setting(
        "",
        "Workspace",
        "The run's own folder: config, events, backups, samples. Empty: a new one is made under `workspaces/`.",
        kind="folder",
        affects="files",
        level="advanced",
    )
    name: str = setting(
        "my_lora",
        "Name",
        "The LoRA's file name.",
        pattern=r"^[^/\\:*?\"<>|\x00-\x1f]+$",
        affects="files",
        also=("output_name",),
    )
    destination: str = setting(
        "",
        "Save to",
        "A folder, or a .safetensors file. Empty: `output` in the workspace.",
        kind="path",
        affects="files",
        also=("output_dir", "output_model_destination"),
    )
    format: Literal["kohya"] = setting(
        "kohya",
        "Format",
        "Key names and metadata of the file. kohya's load in ComfyUI, Forge, A1111 and diffusers.",
        affects="files",
    )
    dtype: Dtype = setting(
        "fp16",
        "Number format",
        "fp16 and bf16 halve the file; slightly less exact.",
        affects="files",
        also=("save_precision",),
    )
    overwrite: bool = setting(
        False,
        "Replace existing files",
        "Off: a file of the same name is an error before the start.",
        affects="files",
        level="advanced",
    )
    every_n_epochs: int = setting(
        0,
        "Save every",
        "Also saves the LoRA after each so many epochs; 0: only at the end.",
        ge=0,
        unit="epochs",
        affects="files",
        also=("save_every_n_epochs",),
    )
    every_n_steps: int = setting(
        0,
        "Save every",
        "Also saves the LoRA after each so many steps.",
        ge=0,
        unit="steps",
        affects="files",
        also=("save_every_n_steps",),
    )
    backup_every_n_steps: int = setting(
        200,
        "Back up every",
        "Keeps all that is needed to go on after a crash; 0: only when the run is stopped.",
        ge=0,
        unit="steps",
        affects="files",
        also=("save_state",),
    )
    keep_backups: int = setting(
        1,
        "Backups kept",
        "Older ones are deleted once a new one is whole.",
        ge=1,
        le=1000,
        affects="files",
        level="advanced",
    )
