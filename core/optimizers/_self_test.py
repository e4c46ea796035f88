"""Tries one optimizer in a process of its own: `python -m core.optimizers._self_test NAME DEVICE`.

The last line of its output is the answer, as JSON. No answer means that the library ended the process.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from core.registry import registry


def main(name: str, device: str) -> None:
    """Write what `self_test` says."""
    availability = registry("optimizers").get(name).self_test(device)
    sys.stdout.write("\n" + json.dumps(asdict(availability)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
