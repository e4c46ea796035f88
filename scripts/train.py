"""Trains as a run.toml says: `./run-cmd.sh train --config-path run.toml`."""

import argparse
import sys
from pathlib import Path

from core.config.flags import parse_flags
from core.config.lora import LoraConfig
from core.errors import OchreError
from core.manager.training_executor import TrainingExecutor
from core.training.events import Finished, Stopped
from widgets.terminal_view import TerminalView


def main(arguments: list[str] | None = None) -> int:
    """0: finished or stopped by the user. 1: it failed. 2: it could not start."""
    parser = argparse.ArgumentParser(prog="./run-cmd.sh train", description=__doc__)
    parser.add_argument("--config-path", type=Path, required=True, help="the run.toml")
    parser.add_argument("--workspace", type=Path, help="the run's folder (a new one is made where none is given)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting: training.epochs=5"
    )
    options = parser.parse_args(arguments)
    try:
        changes = parse_flags(LoraConfig, options.set)
        job = TrainingExecutor().start(options.config_path, options.workspace, changes)
    except OchreError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"workspace: {job.workspace}")
    ending = TerminalView(job).follow()
    if isinstance(ending, Finished):
        print(f"Done: {ending.path}")
    return 0 if isinstance(ending, Finished | Stopped) else 1


if __name__ == "__main__":
    sys.exit(main())
