"""The kinds of image models: one family a file."""

from core.contracts import Family as BASE

__all__ = ["BASE"]
