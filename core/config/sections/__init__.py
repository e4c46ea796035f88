"""The sections that jobs share: one file each."""

from core.config.sections.base import Base
from core.config.sections.ema import Ema
from core.config.sections.logging import Logging
from core.config.sections.memory import Dtype, Memory
from core.config.sections.metadata import Metadata
from core.config.sections.noise import Noise
from core.config.sections.parts import Parts, PartSettings
from core.config.sections.sampling import SamplePrompt, Sampling
from core.config.sections.saving import Saving
from core.config.sections.training import Training
from core.config.sections.validation import Validation

__all__ = [
    "Base",
    "Dtype",
    "Ema",
    "Logging",
    "Memory",
    "Metadata",
    "Noise",
    "PartSettings",
    "Parts",
    "SamplePrompt",
    "Sampling",
    "Saving",
    "Training",
    "Validation",
]
