"""Runs every check of the repository: ruff, the type checker and pytest (`./run-cmd.sh test`).

With arguments it runs pytest alone, with these: `./run-cmd.sh test tests/core -k buckets`.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import installer

ROOT = Path(__file__).resolve().parent.parent

# One thread each: torch's threads on a machine that is busy with other tests make a step many times slower.
TEST_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
}


@dataclass(frozen=True)
class Check:
    """One program to run: its title in the summary, and its command."""

    title: str
    command: Sequence[str]


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def left_out(search_path: str | None = None, root: Path = Path("/")) -> dict[str, str]:
    """The test marks that this machine can't serve, each with the reason."""
    reasons = {}
    if not any(shutil.which(name, path=search_path) for name in ("chromium", "chromium-browser", "google-chrome")):
        reasons["browser"] = "there is no Chromium on this machine (Debian, Ubuntu: apt install chromium)"
    if installer.detect_platform(root, search_path).list_name == "requirements-default.txt":
        reasons["gpu"] = "there is no GPU on this machine"
    return reasons


def all_checks() -> list[Check]:
    """What runs without arguments. The tests of a file stay together on one core: a notebook's cells share a kernel."""
    pytest = [sys.executable, "-m", "pytest", "-n", str(cores()), "--dist", "loadfile", "--durations", "15"]
    unserved = left_out()
    if unserved:
        pytest += ["-m", " and ".join(f"not {mark}" for mark in unserved)]
    return [
        Check("ruff check", [sys.executable, "-m", "ruff", "check", "."]),
        Check("ruff format", [sys.executable, "-m", "ruff", "format", "--check", "."]),
        Check("types", [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable]),
        Check("tests", pytest),
    ]


def run(checks: Sequence[Check], environment: dict[str, str]) -> int:
    """Runs them all, also after one failed, and sums up. Returns the exit status: 0 if all passed."""
    results = []
    for check in checks:
        print(f"\n== {check.title}", flush=True)
        start = time.monotonic()
        status = subprocess.run(check.command, cwd=ROOT, env=environment).returncode
        results.append((check.title, status, time.monotonic() - start))
    print("\n== summary")
    for title, status, seconds in results:
        print(f"{title:12} {'ok' if status == 0 else f'FAILED (exit status {status})'}, {seconds:.0f} s")
    for mark, reason in left_out().items():
        print(f"Left out the tests marked {mark}: {reason}.")
    return 1 if any(status for _, status, _ in results) else 0


def main(arguments: Sequence[str]) -> int:
    if installer.main(["--dev"]) != 0:
        return 1
    environment = {**os.environ, **TEST_ENVIRONMENT}
    if arguments:
        return subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, env=environment).returncode
    return run(all_checks(), environment)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
