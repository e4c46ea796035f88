"""Renames dotted paths by a table of their beginnings."""

from __future__ import annotations

from collections.abc import Mapping


def renamed(path: str, table: Mapping[str, str]) -> str:
    """The path with its longest beginning that is in the table replaced; whole steps only. Else the path itself."""
    steps = path.split(".")
    for count in range(len(steps), 0, -1):
        beginning = table.get(".".join(steps[:count]))
        if beginning is not None:
            return ".".join([beginning, *steps[count:]])
    return path


def inverse(table: Mapping[str, str]) -> dict[str, str]:
    """The table read the other way."""
    turned = {new: old for old, new in table.items()}
    assert len(turned) == len(table), "two names became one"
    return turned
