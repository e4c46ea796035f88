"""Every picture and what became of it, as a table."""

from __future__ import annotations

from collections.abc import Callable

from core.dataset.report import DatasetReport, PictureFate
from widgets.paged_table import PagedTable

COLUMNS: dict[str, Callable[[PictureFate], str]] = {
    "Picture": lambda fate: fate.name,
    "Size": lambda fate: f"{fate.width}x{fate.height}" if fate.width else "",
    "Brought to": lambda fate: ", ".join(fate.buckets) or ("tiles" if fate.tiles else ""),
    "Times": lambda fate: ", ".join(f"{factor:.3g}" for factor in fate.factors),
    "Caption": lambda fate: fate.caption,
    "Tokens": lambda fate: "" if fate.tokens is None else str(fate.tokens),
    "Besides": lambda fate: _besides(fate),
}
"""Title -> what stands in the column."""


def fate_table(report: DatasetReport) -> PagedTable:
    """A row for each picture, used or not."""
    kinds: dict[str, Callable[[PictureFate], bool]] = {
        "All": lambda fate: True,
        "Left out": lambda fate: not fate.used,
        "Used": lambda fate: fate.used,
        "Enlarged": lambda fate: any(factor > 1 for factor in fate.factors),
        "Without caption": lambda fate: fate.used and not fate.caption,
        "Caption too long": lambda fate: (fate.tokens or 0) > report.token_limit,
        "With a mask": lambda fate: bool(fate.mask),
        "With tiles": lambda fate: fate.tiles > 0,
        "With a note": lambda fate: fate.used and bool(fate.why),
    }
    numbers = {
        label: [number for number, fate in enumerate(report.pictures) if fits(fate)] for label, fits in kinds.items()
    }
    columns = {title: [cell(fate) for fate in report.pictures] for title, cell in COLUMNS.items()}
    filled = {title: cells for title, cells in columns.items() if any(cells)}
    some = {label: found for label, found in numbers.items() if found or label == "All"}
    return PagedTable(list(filled), list(zip(*filled.values(), strict=True)), some)


def _besides(fate: PictureFate) -> str:
    if not fate.used:
        return f"left out: {fate.why}"
    tiles = f"{fate.tiles} tiles" + (f", {fate.blank} blank" if fate.blank else "") if fate.tiles or fate.blank else ""
    mask = {"file": "mask", "alpha": "mask from alpha"}.get(fate.mask, "")
    return "; ".join(part for part in (tiles, mask, "conditioning" if fate.conditioning else "", fate.why) if part)
