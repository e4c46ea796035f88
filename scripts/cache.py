"""Shows how large a cache folder is, and removes what isn't used any more: `./run-cmd.sh cache`."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from core.errors import OchreError
from core.training.cache_usage import DEFAULT, Amount, CacheSummary, cache_summary, clear_cache, prune_cache
from core.weights.header import size_text

TITLES = {"latents": "pictures", "text": "captions", "tile_captions": "captions of tiles"}


def main(arguments: list[str] | None = None) -> int:
    """0: done. 2: the folder can't be used, or a run is using it."""
    parser = argparse.ArgumentParser(prog="./run-cmd.sh cache", description=__doc__)
    parser.add_argument("--folder", type=Path, default=DEFAULT, help=f"the cache folder (default: {DEFAULT})")
    remove = parser.add_mutually_exclusive_group()
    remove.add_argument("--prune", action="store_true", help="remove what no run whose workspace is still there uses")
    remove.add_argument("--clear", action="store_true", help="remove everything")
    options = parser.parse_args(arguments)
    try:
        if not options.folder.is_dir():
            raise OchreError(f"There is no folder {options.folder}.", do="Say which with --folder.")
        show(cache_summary(options.folder), removes=options.prune or options.clear)
        if options.prune or options.clear:
            removed = (prune_cache if options.prune else clear_cache)(options.folder)
            print(f"Removed {told(sum(removed.values(), Amount()))}{parts(removed)}.")
    except OchreError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def show(summary: CacheSummary, removes: bool) -> None:
    """Print what the folder holds, and who uses it."""
    print(f"{summary.folder} holds {told(summary.total)}{parts(summary.kinds)}.")
    going_on = f", {len(summary.running)} with a run that is going on" if summary.running else ""
    print(f"Used by {len(summary.workspaces)} workspaces{going_on}.")
    for workspace in summary.gone:
        print(f"No longer there: {workspace}")
    if not removes:
        print(f"--prune would remove {told(summary.prunable)}{parts(summary.unused)}.")


def told(amount: Amount) -> str:
    """`12 files, 3.2 MB`."""
    return f"{amount.files:,} files, {size_text(amount.bytes)}"


def parts(kinds: Mapping[str, Amount]) -> str:
    """Each kind by itself, in brackets."""
    listed = [f"{TITLES[kind]}: {told(amount)}" for kind, amount in kinds.items()]
    return f" ({'; '.join(listed)})" if listed else ""


if __name__ == "__main__":
    sys.exit(main())
