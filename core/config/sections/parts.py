"""The parts of the model that are trained, and how fast."""

from __future__ import annotations

from core.contracts import Part
from core.settings import Settings, setting


class PartSettings(Settings):
    """One part of the model."""

    train: bool = setting(True, "Train", "Whether this part is trained.")
    learning_rate: float = setting(
        1e-4,
        "Learning rate",
        "How far each step goes. Too high destroys the model, too low learns nothing. Prodigy wants 1.",
        ge=0,
        le=10,
        also=("unet_lr", "text_encoder_lr"),
    )


class Parts(Settings):
    """The parts of the model that can be trained."""

    denoiser: PartSettings = setting(PartSettings(), "Denoiser", "The part that draws: the UNet or transformer.")
    text_1: PartSettings = setting(
        PartSettings(train=False, learning_rate=5e-5), "Text encoder 1", "The part that reads prompts: CLIP-L."
    )
    text_2: PartSettings = setting(
        PartSettings(train=False, learning_rate=5e-5), "Text encoder 2", "SDXL's second text encoder: OpenCLIP bigG."
    )

    def trained(self) -> list[Part]:
        """The parts that are switched on."""
        return [name for name in type(self).model_fields if getattr(self, name).train]

    def rates(self) -> dict[Part, float]:
        """Learning rates of the parts that are switched on."""
        return {name: getattr(self, name).learning_rate for name in self.trained()}
