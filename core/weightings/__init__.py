"""Factors on the samples' losses: one a file."""

from core.settings.bases import WeightingConfig as BASE

__all__ = ["BASE"]
