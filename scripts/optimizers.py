"""Lists the optimizers and what of them works here, and tries them: `./run-cmd.sh optimizers --self-test adamw8bit`."""

import argparse
import sys
from collections.abc import Iterator, Sequence

from core.config.toml_file import to_toml
from core.devices import detect
from core.errors import OchreError
from core.manager.optimizer_registry import OptimizerEntry, OptimizerRegistry
from core.optimizers._other_names import other_names
from core.registry import registry
from core.settings.checks import load

_ALL_NATIVE = "all"


def main(arguments: list[str] | None = None) -> int:
    """0: done, and all that was tried works. 1: something that was tried doesn't. 2: there is no such optimizer."""
    parser = argparse.ArgumentParser(prog="./run-cmd.sh optimizers", description=__doc__)
    parser.add_argument(
        "--self-test", nargs="?", const=_ALL_NATIVE, metavar="NAME",
        help="try one in earnest, or without a name all those with compiled code of their own; about 10 seconds each",
    )  # fmt: skip
    parser.add_argument(
        "--like", nargs="+", metavar=("NAME", "KEY=VALUE"),
        help="what kohya's optimizer_type and optimizer_args, or a name of OneTrainer's, are in a run.toml",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    here = OptimizerRegistry(detect())
    try:
        if options.self_test:
            return _try(here, options.self_test)
        if options.like:
            return _translate(*options.like)
    except OchreError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(_table(here.entries())))
    return 0


def _table(entries: Sequence[OptimizerEntry]) -> Iterator[str]:
    width = max(len(entry.name) for entry in entries)
    yield f"{'name':{width}}  bytes/weight  GPU only  library"
    for entry in entries:
        works = entry.availability.works
        state = f"{entry.state_bytes_per_weight:12.2f}  {'yes' if entry.needs_gpu else 'no':8}"
        yield f"{entry.name:{width}}  {state}  {entry.library}{'' if works else ': not usable here'}"
        if not works:
            yield f"{'':{width}}  {entry.availability.reason} Instead: {entry.availability.instead}"
        if entry.also:
            yield f"{'':{width}}  elsewhere: {', '.join(entry.also)}"
    tried = ", ".join(entry.name for entry in entries if entry.has_self_test)
    yield f"\nWith compiled code of their own, which --self-test tries: {tried}"


def _try(here: OptimizerRegistry, name: str) -> int:
    """Try one, or all that have compiled code of their own."""
    entries = {entry.name: entry for entry in here.entries()}
    names = [entry.name for entry in entries.values() if entry.has_self_test] if name == _ALL_NATIVE else [name]
    names = [other_names().get(each, each) for each in names]
    if unknown := [each for each in names if each not in entries]:
        raise OchreError(f"There is no optimizer {unknown[0]}.", f"There are {', '.join(entries)}.")
    passed = True
    for each in names:
        report = here.self_test(each)
        print(f"{report.name} on {report.device}", *(f"  {line}" for line in report.lines()), sep="\n", flush=True)
        passed = passed and report.passed
    return 0 if passed else 1


def _translate(name: str, *arguments: str) -> int:
    result = OptimizerRegistry.like(name, arguments)
    for note in result.notes:
        print(note, file=sys.stderr)
    cls = registry("optimizers").get(result.table["name"])
    print("[optimizer]", to_toml(load(cls, result.table, name)).strip(), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
