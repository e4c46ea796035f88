"""The programs that load what is trained, and what keeps them from it."""

from __future__ import annotations

from collections.abc import Mapping

PROGRAMS = ("ComfyUI", "Forge", "A1111", "diffusers", "LyCORIS")

REFUSED = "Refuses the file."
IGNORED = "Doesn't know this kind: the file changes nothing."


def loads(told: Mapping[str, str]) -> dict[str, str]:
    """Each program -> what happens there, in a sentence; empty if it loads the file and does what was trained."""
    return {program: told.get(program, "") for program in PROGRAMS}
