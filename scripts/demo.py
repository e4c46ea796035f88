"""Trains a LoRA on the built-in demo model, to see that everything works: `./run-cmd.sh demo`."""

import argparse
import sys
import time
from pathlib import Path

from core.errors import OchreError
from core.manager.config_generator import ConfigGenerator
from core.manager.profile_manager import ProfileManager
from core.manager.training_executor import TrainingExecutor
from core.training.events import Finished
from core.training.run_folder import propose_workspace
from widgets.terminal_view import TerminalView


def main(arguments: list[str] | None = None) -> int:
    """0: the LoRA is there. 1: the run failed or was stopped. 2: it could not start."""
    parser = argparse.ArgumentParser(prog="./run-cmd.sh demo", description=__doc__)
    parser.add_argument("--workspace", type=Path, help="the run's folder (a new one is made where none is given)")
    options = parser.parse_args(arguments)
    begin = time.monotonic()
    try:
        config_path = write_config(options.workspace or propose_workspace("demo"))
        job = TrainingExecutor().start(config_path)
    except OchreError as error:
        print(error, file=sys.stderr)
        return 2
    ending = TerminalView(job).follow()
    if not isinstance(ending, Finished):
        return 1
    print(f"\nDone in {time.monotonic() - begin:.0f} s.")
    print(f"  the LoRA:          {ending.path}")
    print(f"  before and after:  {job.workspace / 'comparison.png'}")
    print(f"  TensorBoard logs:  {job.workspace / 'tensorboard'}")
    print(f"  the settings:      {job.workspace / 'run.toml'}")
    return 0


def write_config(workspace: Path) -> Path:
    """Write the demo profile's run.toml, with the memory profile of this machine, into a workspace."""
    generator, profiles = ConfigGenerator(), ProfileManager()
    data, _ = profiles.apply(profiles.propose_memory(generator.machine), generator.default())
    data, _ = profiles.apply(profiles.get("training", "demo"), data)
    return generator.write(generator.checked(data), workspace / "run.toml")


if __name__ == "__main__":
    sys.exit(main())
