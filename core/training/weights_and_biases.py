"""Sends a run's curves and samples to Weights & Biases."""

from __future__ import annotations

import importlib
import importlib.util
import netrc
import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from core.config.lora import LoraConfig
from core.errors import MachineError, Problem
from core.settings.tree import data_without_places
from core.training.curves import curves_of, pictures_of
from core.training.events import Event


def is_installed() -> bool:
    """Whether the package is there; a folder of that name, which it leaves where it was used, is none."""
    found = importlib.util.find_spec("wandb")
    return found is not None and found.origin is not None


def wandb_problem(config: LoraConfig) -> Problem | None:
    """The problem of a machine without the package."""
    if not config.logging.wandb or is_installed():
        return None
    message = "the package wandb is not installed here; install it with `pip install wandb`, or switch this off"
    return Problem("logging.wandb", message, {"logging.wandb": False})


class WeightsAndBiases:
    """A reader of events that sends what `curves_of` and `pictures_of` make of them.

    WANDB_MODE and what else the environment says counts: with `offline` all is kept in the workspace, for `wandb sync`.
    A run that goes on goes on there too; of steps that it takes again, the later values are shown beside the earlier.
    """

    def __init__(self, config: LoraConfig, workspace: Path) -> None:
        """MachineError if it isn't installed, nobody is logged in, or it can't be reached."""
        if not is_installed():
            raise MachineError("Weights & Biases is asked for, but the package wandb is not installed.", do=_INSTEAD)
        wandb: Any = importlib.import_module("wandb")  # which isn't installed where this is checked
        self._wandb, self._workspace = wandb, workspace
        general = wandb.setup().settings  # of the process's first use: a later change of the environment isn't in it
        mode = os.environ.get("WANDB_MODE") or general.mode
        if mode == "online" and not _is_logged_in(general):
            raise MachineError(
                "Nobody is logged in to Weights & Biases on this machine.",
                do="Set WANDB_API_KEY, run `wandb login`, or set WANDB_MODE to offline. " + _INSTEAD,
            )
        settings = wandb.Settings(
            silent=True, console="off", disable_git=True, disable_code=True, x_save_requirements=False
        )
        logging = config.logging
        try:
            self._run = wandb.init(
                project=logging.wandb_project,
                name=logging.wandb_run_name or config.saving.name,
                id=_run_id(workspace),
                dir=str(workspace),
                config=data_without_places(config),
                mode=mode,
                resume="allow",
                reinit="create_new",  # a run that the user has open in this kernel isn't ours to end
                settings=settings,
            )
        except wandb.Error as error:
            raise MachineError("Weights & Biases can't be used.", f"{error}.", _INSTEAD) from error
        self._run.define_metric("*", step_metric="step")

    def __call__(self, event: Event) -> None:
        """Send what it can show of an event."""
        values: dict[str, Any] = dict(curves_of(event))
        values |= {tag: self._wandb.Image(str(self._workspace / path)) for tag, path in pictures_of(event).items()}
        if values:
            self._run.log({"step": event.step, **values})  # type: ignore[attr-defined]

    def close(self) -> None:
        """Send what is still in memory."""
        self._run.finish()


_INSTEAD = "Or switch it off: logging.wandb."


def _is_logged_in(settings: Any) -> bool:
    known = os.environ.get("WANDB_API_KEY") or settings.api_key or settings.identity_token_file
    return bool(known) or _in_netrc(settings.base_url)


def _in_netrc(address: str) -> bool:
    """Whether `wandb login` left a key for a server."""
    host = urlsplit(address).netloc
    paths = [os.environ["NETRC"]] if os.environ.get("NETRC") else [Path.home() / ".netrc", Path.home() / "_netrc"]
    for path in paths:
        try:
            if netrc.netrc(path).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


def _run_id(workspace: Path) -> str:
    """The run's name among all of the project, which stays when it goes on."""
    kept = workspace / "wandb" / "run_id"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(secrets.token_hex(4), encoding="utf-8")
    return kept.read_text(encoding="utf-8")
