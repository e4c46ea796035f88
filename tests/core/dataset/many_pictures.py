"""Makes many small pictures, and measures what a survey of them takes: `python -m tests.core.dataset.many_pictures`."""

from __future__ import annotations

import argparse
import gc
import time
import tracemalloc
from pathlib import Path

import numpy as np
from PIL import Image

from core.dataset import looks
from core.dataset.settings import Buckets, Concept
from core.dataset.survey import Survey, survey


def make_pictures(folder: Path, count: int, sides: tuple[int, int] = (96, 256)) -> None:
    """JPEG and PNG files in turn, 5,000 to a folder, each with a caption of about 80 letters."""
    draw = np.random.default_rng(0)
    for number in range(count):
        inside = folder / f"{number // 5000}"
        inside.mkdir(parents=True, exist_ok=True)
        width, height = (int(side) for side in draw.integers(sides[0], sides[1] + 1, 2))
        small = Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        path = inside / f"picture_{number:06d}.{'jpg' if number % 2 else 'png'}"
        small.resize((width, height), Image.Resampling.BICUBIC).save(path, quality=88, compress_level=1)
        caption = f"a picture of things, number {number}, tag {number % 50}, tag {number % 7}, indoors, colourful"
        path.with_suffix(".txt").write_text(caption)


def look_through(folder: Path) -> Survey:
    """A survey of the folder."""
    return survey([Concept(folder=str(folder), subfolders=True)], Buckets(resolution="256", minimum=64))


def kept_bytes(folder: Path) -> float:
    """What a survey of these pictures keeps for each, with all that it caches, counted by Python (tracemalloc)."""
    looks.forget()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    found = look_through(folder)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return (after - before) / len(found.entries)


def _resident() -> int:
    """The memory of this process in bytes, as Linux tells it."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> None:
    """Make the pictures unless they are there, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=20_000)
    options = parser.parse_args()
    if not options.folder.exists():
        make_pictures(options.folder / "few", 100)
        make_pictures(options.folder / "many", options.count)
    few = look_through(options.folder / "few")  # loads what is loaded once
    gc.collect()
    before, start = _resident(), time.perf_counter()
    found = look_through(options.folder / "many")
    seconds = time.perf_counter() - start
    gc.collect()
    count, grown = len(found.entries), _resident() - before
    start = time.perf_counter()
    look_through(options.folder / "many")
    again = time.perf_counter() - start
    print(f"{count:,} pictures: {seconds:.1f} s, looked at again {again:.1f} s")
    print(f"memory of the process: {grown / count:,.0f} bytes more for each")
    del few, found
    print(f"kept for each: {kept_bytes(options.folder / 'many'):,.0f} bytes")


if __name__ == "__main__":
    main()
