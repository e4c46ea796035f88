"""The settings of concepts, pictures, captions and buckets."""

from core.dataset.settings.buckets import Buckets
from core.dataset.settings.concept import Concept
from core.dataset.settings.detail_crops import DetailCrops
from core.dataset.settings.image import Change, ConceptImage
from core.dataset.settings.text import ConceptText

__all__ = ["Buckets", "Change", "Concept", "ConceptImage", "ConceptText", "DetailCrops"]
