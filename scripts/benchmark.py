"""Measures the loop, the caching of pictures and the wait for batches: `./run-cmd.sh benchmark`.

loop: against a bare one, hand-written on diffusers and peft. Time: single steps of the two in turn on the same model,
pictures and batch size; the median of the pairs' ratios. Memory: the peak of a process that runs only the one, against
a process that runs only the other.
caching: the demo's pictures and synthetic ones, against encoding one picture at a time, both in turn.
waiting: the share of training steps that goes by waiting for data.
networks: a step of each network against LoRA's, in turn. extras: the same for EMA, masks, validation and more, and the
share of logging and checks.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from core.errors import OchreError

PARTS = ("loop", "caching", "waiting", "networks", "extras")
LIMITS = {"demo": 1.15, "50m": 1.05}
ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str] | None = None) -> int:
    """0: all that was measured is within its limit."""
    parser = argparse.ArgumentParser(prog="./run-cmd.sh benchmark", description=__doc__)
    parser.add_argument(
        "--model", choices=[*LIMITS, "all"], default="all", help="loop: the demo model, or a UNet of 50 M weights"
    )
    parser.add_argument("--part", choices=[*PARTS, "all"], default="all", help="what to measure")
    parser.add_argument("--pairs", type=int, default=200, help="loop: pairs of steps")
    parser.add_argument("--steps", type=int, default=200, help="waiting: steps")
    parser.add_argument("--pictures", type=int, default=500, help="caching: synthetic pictures")
    parser.add_argument(
        "--vae", choices=["demo", "full"], default="demo", help="caching: the demo's VAE, or SD 1.5's size"
    )
    parser.add_argument("--memory-of", choices=["ours", "bare"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.memory_of:
        print(json.dumps(memory_of(options.memory_of, options.model, options.folder)))
        return 0
    try:
        return max([measure(part, options) for part in (PARTS if options.part == "all" else [options.part])])
    except OchreError as error:
        print(error, file=sys.stderr)
        return 2


def measure(part: str, options: argparse.Namespace) -> int:
    """Measure a part and print its lines. 1 if something is beyond its limit."""
    from scripts._caching import compare_caching, measure_waiting
    from scripts._costs import compare_extras, compare_networks

    if part == "loop":
        names = list(LIMITS) if options.model == "all" else [options.model]
        return max([compare(name, options.pairs) for name in names])
    with tempfile.TemporaryDirectory() as folder:
        if part in ("networks", "extras"):
            compare_costs = compare_networks if part == "networks" else compare_extras
            model = "50m" if options.model == "all" else options.model
            return compare_costs(model, options.pairs, Path(folder))
        if part == "caching":
            return compare_caching(options.vae, options.pictures, Path(folder))
        return measure_waiting(options.steps, Path(folder))


def compare(name: str, pairs: int) -> int:
    """Measure one model and print a line. 1 if it is slower than its limit."""
    with tempfile.TemporaryDirectory() as folder:
        ours, bare = steps_of("ours", name, Path(folder)), steps_of("bare", name, Path(folder))
        for step in (ours, bare, ours, bare):
            step()  # the first steps warm up
        ratios, seconds = [], []
        for _ in range(pairs):
            mine, theirs = timed(ours), timed(bare)
            ratios.append(mine / theirs)
            seconds.append(theirs)
        memory = {which: measured_memory(which, name, Path(folder)) for which in ("ours", "bare")}
    ratio, limit = statistics.median(ratios), LIMITS[name]
    quarters = statistics.quantiles(ratios, n=4) if pairs > 1 else [ratio] * 3
    verdict = "ok" if ratio <= limit else "TOO SLOW"
    print(
        f"{name}: a step costs {ratio:.3f} times the bare one's {statistics.median(seconds) * 1000:.0f} ms "
        f"(quartiles {quarters[0]:.3f} to {quarters[2]:.3f}, {pairs} pairs; limit {limit}): {verdict}; "
        f"peak memory {memory['ours'] / 1e9:.2f} GB against {memory['bare'] / 1e9:.2f} GB"
    )
    return int(ratio > limit)


def timed(step: Callable[[], object]) -> float:
    """Seconds of a step."""
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def measured_memory(which: str, name: str, folder: Path) -> int:
    """Peak bytes of a process of its own that loads the model and takes a few steps."""
    command = [
        sys.executable,
        "-m",
        "scripts.benchmark",
        "--memory-of",
        which,
        "--model",
        name,
        "--folder",
        str(folder),
    ]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def memory_of(which: str, name: str, folder: Path) -> int:
    """What `measured_memory` asks its process for."""
    import resource

    import torch

    step = steps_of(which, name, folder)
    for _ in range(3):
        step()
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def steps_of(which: str, name: str, folder: Path) -> Callable[[], object]:
    """A function that takes one step of ours, or of the bare loop."""
    from scripts._bare_loop import bare_steps, benchmark_case, our_steps

    case = benchmark_case(name, folder)
    return our_steps(case) if which == "ours" else bare_steps(case)


if __name__ == "__main__":
    sys.exit(main())
