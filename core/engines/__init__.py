"""What carries a run out: one engine a file."""

from core.settings.bases import EngineConfig as BASE

__all__ = ["BASE"]
