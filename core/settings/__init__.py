"""What a setting is: declared once, and from it come the TOML, the checks, the form, the flags and the docs."""

from core.settings.plugin import plugin
from core.settings.setting import Info, Settings, info, setting

__all__ = ["Info", "Settings", "info", "plugin", "setting"]
