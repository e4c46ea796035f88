"""Makes a network of a config of kohya's trainer: `./run-cmd.sh import_kohya_network config.toml --family sdxl`."""

import argparse
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit

from core.config.lora import LoraConfig
from core.config.toml_file import set_values, to_data
from core.errors import OchreError, SettingsError
from core.manager.config_generator import ConfigGenerator
from core.networks._kohya import network_from_config
from core.registry import registry
from core.settings.checks import load, validate


def main(arguments: list[str] | None = None) -> int:
    """0: done. 2: it can't be read, can't be used here, or something would be overwritten."""
    parser = argparse.ArgumentParser(prog="./run-cmd.sh import_kohya_network", description=__doc__)
    parser.add_argument("source", type=Path, help="what kohya's trainer takes as --config_file")
    parser.add_argument("--family", choices=("sd15", "sdxl"), required=True, help="of the base: its blocks are counted")
    parser.add_argument("--config-path", type=Path, help="write the network into this run.toml")
    parser.add_argument("--overwrite", action="store_true", help="replace the run.toml's networks")
    options = parser.parse_args(arguments)
    try:
        made = network_from_config(_read(options.source), options.family)
        network = load(
            registry("networks").get(made.settings["name"]), made.settings, f"The network of {options.source}"
        )
        print(tomlkit.dumps({"networks": [_changed(to_data(network))]}).strip())
        if made.notes:
            print("\nLeft out, or to be looked at:", *(f"  {note}" for note in made.notes), sep="\n")
        if options.config_path:
            _write(to_data(network), options.config_path, options.overwrite)
        else:
            print("\nNothing is written. --config-path writes a run.toml.")
    except OchreError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OchreError(f"{path} can't be read:", f"{error}.", "Give a TOML file.") from None


def _changed(data: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that aren't at their defaults, and the name; of rules likewise."""
    before = to_data(registry("networks").get(data["name"])())
    found = {name: value for name, value in data.items() if name == "name" or value != before[name]}
    if "rules" in found:
        blank = {"blocks": "", "pattern": "", "train": True, "rank": 0, "alpha": 0.0}
        blank |= {"learning_rate_factor": 1.0, "learning_rate": 0.0}
        found["rules"] = [
            {name: value for name, value in rule.items() if value != blank[name]} for rule in found["rules"]
        ]
    return found


def _write(network: dict[str, Any], path: Path, overwrite: bool) -> None:
    """Write the network into a run.toml, with every other default where there is no such file yet."""
    if path.exists() and not overwrite:
        raise OchreError(f"{path} is there already.", do="--overwrite replaces its networks.")
    data = set_values(ConfigGenerator().read(path) if path.exists() else to_data(LoraConfig()), {"networks": [network]})
    config, problems = validate(LoraConfig, data)
    wrong = [problem for problem in problems if problem.path.startswith("networks")]
    if config is None or wrong:
        raise SettingsError(wrong or problems, f"{path} with this network")
    ConfigGenerator().write(config, path)
    print(f"\nWritten: {path}", *(f"  To do: {problem}" for problem in problems), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
