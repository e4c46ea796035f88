"""Settings of algorithms whose update is a product of factors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from core.errors import Problem
from core.networks._adapter import Ranked, given
from core.settings import setting


class Factored(Ranked):
    """An update made of factors: LoRA, LoCon, LoHa, LoKr, GLoRA."""

    rank_dropout: float = setting(
        0.0,
        "Rank dropout",
        "Share of the ranks left out at random; of LoHa and LoKr, as with LyCORIS, of the update's rows.",
        ge=0,
        lt=1,
        level="advanced",
    )
    rank_dropout_scale: bool = setting(
        True,
        "Scale after rank dropout",
        "Multiplies the ranks that stay by 1 / (1 - share), as kohya does; LyCORIS does so only if it is told.",
        level="advanced",
    )
    use_scalar: bool = setting(
        False,
        "Trained factor",
        "Begins with factors that are all random, and multiplies their product by a trained number that begins at 0.",
        level="advanced",
    )

    def options(self) -> dict[str, Any]:
        own = {"rank_dropout": self.rank_dropout, "rank_dropout_scale": self.rank_dropout_scale}
        return super().options() | own | {"use_scalar": self.use_scalar}

    def arguments(self) -> dict[str, Any]:
        dropout = {"rank_dropout": self.rank_dropout}
        if self.rank_dropout:
            dropout["rank_dropout_scale"] = self.rank_dropout_scale
        return super().arguments() | given(dropout | {"use_scalar": self.use_scalar})


class Decomposable(Factored):
    """With DoRA, and with a Tucker decomposition of convolutions: LoRA, LoCon, LoHa, LoKr."""

    tucker: bool = setting(
        False,
        "Tucker decomposition",
        "Changes convolutions by smaller factors, with their kernel in a third one: fewer weights to train. The file "
        "has the usual form.",
        level="advanced",
        also=("use_tucker", "use_cp"),
    )
    decompose: bool = setting(
        False,
        "DoRA",
        "Trains the size of each weight vector apart from its direction. Learns more with small ranks, and is slower.",
        level="advanced",
        also=("dora_wd", "use_dora", "weight_decompose"),
    )
    decompose_by: Literal["input", "output"] = setting(
        "input",
        "DoRA's vectors",
        "input: as in the paper, and as ComfyUI, Forge and A1111 calculate. output: as LyCORIS and peft do.",
        level="advanced",
        also=("wd_on_output", "dora_on_output"),
        shown_if={"decompose": [True]},
    )

    def check(self) -> Iterator[Problem]:
        yield from super().check()
        linear = self.layers in ("attention", "attention_mlp", "transformer", "linear") and not self.include
        if self.tucker and linear and "convolution" not in self.layer_groups():
            yield Problem("tucker", f"is of convolutions, and layers = {self.layers!r} has none; switch it off")

    def options(self) -> dict[str, Any]:
        decomposed = {"weight_decompose": self.decompose, "wd_on_out": self.decompose_by == "output"}
        return super().options() | decomposed | {"use_tucker": self.tucker}

    def arguments(self) -> dict[str, Any]:
        decomposed = {"dora_wd": True, "wd_on_output": self.decompose_by == "output"} if self.decompose else {}
        return super().arguments() | decomposed | given({"use_tucker": self.tucker})

    def without_dora(self, told: dict[str, str]) -> dict[str, str]:
        """What programs do with a file, told what they do with one without DoRA.

        ComfyUI (comfy/weight_adapter/base.py) and Forge (backend/patcher/lora.py) divide by the norm of W + dW along
        the input, and by that of W alone along the output; A1111 (extensions-builtin/Lora/network.py) takes the norm
        along the input always; LyCORIS' loader expects the output. diffusers drops dora_scale without a word.
        """
        if not self.decompose:
            return told
        if self.decompose_by == "input":
            return {"LyCORIS": "Expects DoRA by output.", "diffusers": DROPS_DORA} | told
        return {"ComfyUI": OTHER_NORM, "Forge": OTHER_NORM, "A1111": WRONG_NORM, "diffusers": DROPS_DORA} | told


DROPS_DORA = "Leaves DoRA's sizes out without a word: another effect."
OTHER_NORM = "Divides by the norm of the untrained weights: not quite the effect that was trained."
WRONG_NORM = "Takes DoRA for one by input: a wrong effect."
