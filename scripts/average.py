"""Averages the LoRAs that a run saved: `./run-cmd.sh average --folder output --name my_lora`."""

import argparse
import sys
from pathlib import Path

from core.errors import OchreError
from core.tools.average_loras import (
    WIDEST,
    Saved,
    average,
    decay_weights,
    in_order,
    power_weights,
    saved,
    saved_by_run,
    told_weights,
)

_ENOUGH = 0.99


def main(arguments: list[str] | None = None) -> int:
    """0: the average is written. 2: it can't be."""
    options = _parser().parse_args(arguments)
    try:
        return _average(options)
    except OchreError as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./run-cmd.sh average", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--folder", type=Path, help="where the run saved its LoRAs")
    which.add_argument("--files", type=Path, nargs="+", help="the LoRAs one by one")
    parser.add_argument("--name", help="with --folder: the LoRA's name, without epoch or step")
    parser.add_argument("--from-step", type=int, default=0, help="leave out what was saved before this step")
    parser.add_argument(
        "--equal-distances", action="store_true", help="with --files: in this order, whatever steps they tell"
    )
    how_much = parser.add_mutually_exclusive_group()
    how_much.add_argument(
        "--sigma-rel",
        type=float,
        default=0.2,
        help=f"width of the average, as a share of the run: 0.05 the last steps, 0.2 much, {WIDEST:.3f} a plain mean",
    )
    how_much.add_argument("--beta", type=float, help="instead: a fixed decay from file to file, such as 0.9")
    parser.add_argument(
        "--how",
        choices=("changes", "factors"),
        default="changes",
        help="changes: what the LoRAs do is averaged (plain LoRAs); factors: their tensors one by one, as musubi-tuner",
    )
    parser.add_argument("--rank", type=int, help="of the result, at most; 0: as many as are exact; else the files' own")
    parser.add_argument("--output", type=Path, help="the file to write; else NAME-average.safetensors beside them")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    return parser


def _average(options: argparse.Namespace) -> int:
    if options.folder and not options.name:
        raise OchreError("With --folder goes --name: which run's LoRAs.", do="Or give the files with --files.")
    if options.rank is not None and options.rank < 0:
        raise OchreError("The rank can't be below 0.")
    files = saved_by_run(options.folder, options.name) if options.folder else [saved(path) for path in options.files]
    if not options.folder and not options.equal_distances:
        files = in_order(files)
    files, weights = _weighted(files, options)
    name = options.name or files[-1].path.stem
    output = options.output or files[-1].path.with_name(f"{name}-average.safetensors")
    made = average(
        files, weights, output, how=options.how, rank=options.rank, overwrite=options.overwrite, progress=_tell
    )
    print("\n".join(told_weights(files, weights)))
    if made.kept:
        layer, least = min(made.kept.items(), key=lambda item: item[1])
        print(f"{_mean(list(made.kept.values())):.2%} of the changes are kept; least in {layer}: {least:.2%}.")
        if least < _ENOUGH:
            print("A larger --rank keeps more; --rank 0 keeps all.")
    print(f"Written: {made.path}")
    return 0


def _weighted(files: list[Saved], options: argparse.Namespace) -> tuple[list[Saved], list[float]]:
    """The files that count, and how much each does."""
    if options.beta is not None:
        weights = decay_weights(len(files), options.beta)
    else:
        steps = range(1, len(files) + 1) if options.equal_distances else [one.step or 0 for one in files]
        weights = power_weights(list(steps), options.sigma_rel)
    first = next((place for place, one in enumerate(files) if (one.step or 0) >= options.from_step), len(files))
    if first == len(files):
        raise OchreError(f"Nothing was saved from step {options.from_step} on.")
    left = sum(weights[first:])
    return files[first:], [weight / left for weight in weights[first:]]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _tell(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done:,} of {total:,} layers", end="" if done + 1 < total else "\n", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
