"""What is written, where, and how often."""

from __future__ import annotations

from collections.abc import Iterator

from core.config.sections.memory import Dtype
from core.errors import Problem
from core.settings import Settings, setting
from core.settings.cadence import EXAMPLES, cadence_problems, start_problems


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
    every: str = setting(
        "never",
        "Save every",
        f"Also saves the LoRA on the way: {EXAMPLES} (only at the end).",
        affects="files",
        also=("save_every_n_epochs", "save_every_n_steps", "save_n_epoch_ratio", "save_every", "save_every_unit"),
    )
    skip_first: str = setting(
        "",
        "Not before",
        "Saves none before so many steps or epochs: `500 steps`, `3 epochs`. Empty: from the start.",
        affects="files",
        level="advanced",
        also=("save_skip_first",),
    )
    keep_last: int = setting(
        0,
        "Files kept",
        "Of the LoRAs saved on the way only the last so many stay; older ones that this run wrote are deleted. 0: all.",
        ge=0,
        le=100_000,
        affects="files",
        level="advanced",
        also=("save_last_n_epochs", "save_last_n_steps"),
    )
    backup_every: str = setting(
        "200 steps",
        "Back up every",
        f"Keeps all that is needed to go on after a crash: {EXAMPLES} (only when the run is stopped, and at its end).",
        affects="files",
        also=("save_state", "backup_after", "backup_after_unit"),
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

    def check(self) -> Iterator[Problem]:
        yield from cadence_problems("every", self.every)
        yield from start_problems("skip_first", self.skip_first)
        yield from cadence_problems("backup_every", self.backup_every)
