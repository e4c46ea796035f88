"""What this machine can do, each fact with its reason."""

from core.devices.detect import detect
from core.devices.host_cores import cores
from core.devices.host_memory import give_back_host_memory, used_host_memory
from core.devices.machine import Host, Kind, Machine

__all__ = ["Host", "Kind", "Machine", "cores", "detect", "give_back_host_memory", "used_host_memory"]
