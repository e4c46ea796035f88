"""Says what became of every picture: `./run-cmd.sh dataset_report --folder pictures`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from core.config.flags import parse_flags
from core.config.lora import LoraConfig
from core.config.toml_file import read_toml, set_values
from core.dataset.report import DatasetReport
from core.dataset.survey import look_through
from core.errors import OchreError, SettingsError
from core.settings.checks import validate
from core.training.dataset_report import clip_token_counter, report_of

_LISTED = 40
_OF_PICTURES = ("concepts", "buckets")


def main(arguments: list[str] | None = None) -> int:
    """0: every picture can be used. 1: some can't, or something stops a run. 2: nothing could be looked at."""
    options = _parser().parse_args(arguments)
    try:
        report = _report(_config(options), counts_tokens=not options.no_tokens)
        if options.json:
            _write(options.json, report.to_json())
    except OchreError as error:
        print(error, file=sys.stderr)
        return 2
    print(report.to_text(len(report.pictures) if options.all else _LISTED), end="")
    return 0 if report.all_used else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./run-cmd.sh dataset_report", description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--config-path", type=Path, help="a run.toml, whose concepts are looked at")
    where.add_argument("--folder", action="append", help="a folder of pictures; may be given several times")
    parser.add_argument("--resolution", help="with --folder: 512, or 512,768, or 768x1152")
    parser.add_argument("--subfolders", action="store_true", help="with --folder: the pictures inside its folders too")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting: buckets.step=32"
    )
    parser.add_argument("--json", type=Path, help="write the whole report into this file too")
    parser.add_argument("--all", action="store_true", help=f"list all pictures, not only the first {_LISTED}")
    parser.add_argument("--no-tokens", action="store_true", help="don't count tokens; saves about two seconds")
    return parser


def _config(options: argparse.Namespace) -> LoraConfig:
    """The config of a file, or one for the folders. OchreError where there is none, or it is wrong."""
    if options.config_path:
        if options.resolution or options.subfolders:
            raise OchreError("--resolution and --subfolders go with --folder.", do="Change the config, or use --set.")
        source, data = str(options.config_path), read_toml(options.config_path)
    else:
        concepts = [{"folder": folder, "subfolders": options.subfolders} for folder in options.folder]
        source, data = "These arguments", dict[str, Any](concepts=concepts)
        if options.resolution:
            data["buckets"] = {"resolution": options.resolution}
    config, problems = validate(LoraConfig, set_values(data, parse_flags(LoraConfig, options.set)))
    # a report needs no base model, for example
    own = [problem for problem in problems if problem.path.split(".")[0] in _OF_PICTURES]
    if config is None or own:
        raise SettingsError(own or problems, source)
    return config


def _report(config: LoraConfig, counts_tokens: bool) -> DatasetReport:
    found = look_through(config.concepts, config.buckets, _tell)
    return report_of(config, found, clip_token_counter(config.base.weighted_prompts) if counts_tokens else None)


def _tell(done: int, total: int) -> None:
    """Progress, where someone watches."""
    if sys.stderr.isatty() and (done % 100 == 0 or done == total):
        ending = "\n" if done == total else ""
        print(f"\rReading the pictures: {done:,} of {total:,}", end=ending, file=sys.stderr, flush=True)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise OchreError(f"The report can't be written to {path}.", f"{error.strerror}.") from error


if __name__ == "__main__":
    sys.exit(main())
