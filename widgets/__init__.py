"""What a user sees in a notebook: forms made from the settings, the view of a run, themes, one panel per notebook."""

from __future__ import annotations

from typing import Any

__all__ = ["open_panel"]


def open_panel(name: str) -> Any:
    """A new panel: `open_panel("lora_trainer")`. KeyError, with the names there are, for one that isn't there."""
    from core.registry import Registry
    from widgets.panel import Panel

    return Registry("widgets.panels", Panel).get(name)()
