"""Tries one optimizer in a process of its own: `python -m core.optimizers._self_test NAME DEVICE`.

The last line of its output is what was found, as JSON. No such line means that the library ended the process.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from core.optimizers._trial import try_out
from core.registry import registry


def main(name: str, device: str) -> None:
    """Write what the trial finds."""
    findings = [asdict(finding) for finding in try_out(registry("optimizers").get(name), device)]
    sys.stdout.write("\n" + json.dumps(findings) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
