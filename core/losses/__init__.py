"""What an error costs: one loss a file, summed in a run."""

from core.settings.bases import LossConfig as BASE

__all__ = ["BASE"]
