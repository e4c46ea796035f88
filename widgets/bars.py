"""A bar chart as HTML: how many of each."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape


def bars(counts: Mapping[str, int], title: str, shown: int = 24) -> str:
    """A bar for each, in the order given; what is beyond the first `shown` is folded. Empty for no counts."""
    if not counts:
        return ""
    most = max(1, *counts.values())
    rows = [_row(label, count, count / most) for label, count in counts.items()]
    more = len(rows) - shown
    rest = f"<details><summary>{more} more</summary>{_chart(rows[shown:], '')}</details>" if more > 0 else ""
    return f'<div class="ochre-bars"><b>{escape(title)}</b>{_chart(rows[:shown], title)}{rest}</div>'


def _chart(rows: list[str], title: str) -> str:
    return f'<div class="ochre-bar-rows" role="list" aria-label="{escape(title)}">{"".join(rows)}</div>'


def _row(label: str, count: int, share: float) -> str:
    return (
        f'<span class="label" title="{escape(label)}">{escape(label)}</span>'
        f'<span class="track"><span class="fill" style="width:{100 * share:.1f}%"></span></span>'
        f'<span class="count" role="listitem" aria-label="{escape(label)}: {count}">{count:,}</span>'
    )
