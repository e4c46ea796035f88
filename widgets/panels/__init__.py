"""The panels: one per notebook."""

from widgets.panel import Panel as BASE

__all__ = ["BASE"]
