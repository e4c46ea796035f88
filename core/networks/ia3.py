"""(IA)³: one factor for each output of a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.networks._adapter import LayerAdapter, given
from core.networks._programs import IGNORED, REFUSED, loads
from core.settings import setting

if TYPE_CHECKING:
    from torch import nn

    from core.networks._modules.change import Change


class Ia3(LayerAdapter):
    """One factor for each output of a layer: the smallest of all, for a style or a word; wants a high learning rate.

    Liu et al. 2022, arXiv 2205.05638. Learning rates of 1e-3 to 1e-2 are usual.
    """

    label: ClassVar[str] = "(IA)³"
    algorithm: ClassVar[str] = "ia3"

    name: Literal["ia3"] = "ia3"
    train_on_input: bool = setting(
        False, "On the input", "One factor for each input of a layer instead, as the paper has for the feed-forward."
    )

    def make(self, name: str, layer: nn.Module, rank: int, alpha: float) -> Change:
        from core.networks._modules.ia3 import Ia3Change

        return Ia3Change(name, layer, train_on_input=self.train_on_input, **self.options())

    def loads_in(self) -> dict[str, str]:
        return loads(
            {
                "ComfyUI": IGNORED,
                "Forge": IGNORED,
                "A1111": "Fails at convolutions, which SD 1.5 has in its transformers; leave proj_in and proj_out out.",
                "diffusers": REFUSED,
                "LyCORIS": "Can't read its own files of this kind.",
            }
        )

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | given({"train_on_input": self.train_on_input})
