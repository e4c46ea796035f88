"""How the learning rate changes over a run: one schedule a file, pure functions of the step."""

from core.settings.bases import ScheduleConfig as BASE

__all__ = ["BASE"]
