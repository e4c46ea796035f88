"""What is trained: one kind of network a file."""

from core.settings.bases import NetworkConfig as BASE

__all__ = ["BASE"]
