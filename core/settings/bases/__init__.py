"""The base class of each kind of plug-in that a config can choose. A plug-in owns its settings and builds itself."""

from core.settings.bases.engine import EngineConfig
from core.settings.bases.loss import LossConfig
from core.settings.bases.network import NetworkConfig
from core.settings.bases.optimizer import Availability, Finding, OptimizerConfig
from core.settings.bases.schedule import ScheduleConfig
from core.settings.bases.times import TimesConfig, density
from core.settings.bases.weighting import WeightingConfig

__all__ = [
    "Availability",
    "EngineConfig",
    "Finding",
    "LossConfig",
    "NetworkConfig",
    "OptimizerConfig",
    "ScheduleConfig",
    "TimesConfig",
    "WeightingConfig",
    "density",
]
