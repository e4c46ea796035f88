"""What is recorded besides the events."""

from __future__ import annotations

from typing import Any

from core.settings import Settings, setting

_ASKED: dict[str, Any] = {"shown_if": {"wandb": [True]}, "affects": "log"}


class Logging(Settings):
    """What is recorded besides the events."""

    tensorboard: bool = setting(
        True,
        "TensorBoard",
        "Writes curves and samples for TensorBoard into the workspace.",
        affects="log",
        also=("log_with", "logging_dir"),
    )
    every_n_steps: int = setting(
        10,
        "Full record every",
        "Steps from one record of what takes time to the next: the loss by noise level, the weights' norms, the rates "
        "as the optimizer takes them. Losses are recorded at each step.",
        ge=1,
        le=100_000,
        unit="steps",
        affects="log",
        level="advanced",
    )
    wandb: bool = setting(
        False,
        "Weights & Biases",
        "Sends the curves, samples and settings to wandb.ai, as the user who is logged in there on this machine. The "
        "package wandb must be installed.",
        affects="log",
        also=("log_with", "wandb_api_key"),
    )
    wandb_project: str = setting(
        "ochre", "Project", "The project there.", min_length=1, also=("log_tracker_name",), **_ASKED
    )
    wandb_run_name: str = setting("", "Run name", "Empty: the LoRA's name.", also=("wandb_run_name",), **_ASKED)
