"""How the weights are changed: one optimizer a file."""

from core.settings.bases import OptimizerConfig as BASE

__all__ = ["BASE"]
