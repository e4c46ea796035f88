"""The base class of weightings: a factor on each sample's loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from core.settings.setting import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from core.objectives import Objective

_WORDS = {"epsilon": "epsilon", "v_prediction": "v-prediction"}


class WeightingConfig(Settings):
    """A factor on each sample's loss that depends on its noise level.

    The signal-to-noise ratio that weightings go by is that of the noise levels as they are trained, rescaled where the
    base has zero terminal SNR, as in the papers, in diffusers and OneTrainer. kohya's trainer takes its ratios before
    it rescales, so that the noisiest fifth of the times counts three times as much there under min-SNR.

    objectives: the kinds of model that it is for. predictions: of diffusion models, those with these predictions.
    needs_signal: predictions with which it would be infinite where nothing of the picture is left.
    """

    label: ClassVar[str]
    objectives: ClassVar[tuple[str, ...]] = ("diffusion",)
    predictions: ClassVar[tuple[str, ...]] = ("epsilon", "v_prediction")
    needs_signal: ClassVar[tuple[str, ...]] = ()

    name: str

    def weights(self, objective: Objective, times: Tensor) -> Tensor:
        """Factors, B, for samples at `times`, B."""
        raise NotImplementedError

    def unsuited(self, kind: str, prediction: str | None, ends_in_noise: bool | None) -> str:
        """Why it can't be used, in the user's words; empty if it can, or if it can't be told yet.

        kind: diffusion or flow. prediction, ends_in_noise: None where they aren't known.
        """
        if kind not in self.objectives:
            return f"{self.label} is for {' and '.join(self.objectives)} models, and the base is a {kind} model"
        if kind == "diffusion" and prediction and prediction not in self.predictions:
            fitting = " or ".join(_WORDS[name] for name in self.predictions)
            return f"{self.label} is for models that predict {fitting}; this one predicts {_WORDS[prediction]}"
        if ends_in_noise and prediction in self.needs_signal:
            return f"{self.label} is infinite at the last time of a model with zero terminal SNR; set times.end to 999"
        return ""
