"""Which noise levels are trained how often: one distribution a file, quantile functions in plain Python."""

from core.settings.bases import TimesConfig as BASE

__all__ = ["BASE"]
