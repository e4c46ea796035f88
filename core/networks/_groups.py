"""Optimizer groups: what learns at a rate of its own, by part, by rule, and by side of the update (LoRA+)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from core.contracts import Part
from core.networks._rules import Said
from core.settings import Settings, setting

if TYPE_CHECKING:
    from torch import nn

UP = ("lora_up.", "up_list.")
"""How the names of the up matrices begin: those of LoRA, LoCon and DyLoRA, to which kohya and LyCORIS apply LoRA+."""


class LoraPlus(Settings):
    """Rates of their own for the up matrices (LoRA+, Hayou et al. 2024, arXiv 2402.12354)."""

    lora_plus_ratio: float = setting(
        1.0,
        "LoRA+ ratio",
        "The up half of each update learns this many times faster than the down half. 1: as fast. With 16, set half "
        "the learning rate or less.",
        gt=0,
        le=1000,
        level="advanced",
        also=("loraplus_lr_ratio", "loraplus_unet_lr_ratio"),
    )
    lora_plus_text_ratio: float = setting(
        0.0,
        "LoRA+ ratio of text encoders",
        "0: the same as above.",
        ge=0,
        le=1000,
        level="advanced",
        also=("loraplus_text_encoder_lr_ratio",),
    )

    def up_ratio(self, part: Part) -> float:
        """How many times faster the up matrices of a part learn."""
        return (self.lora_plus_text_ratio if part.startswith("text_") else 0.0) or self.lora_plus_ratio

    def plus_arguments(self) -> dict[str, Any]:
        """What kohya's `network_args` would hold of it."""
        ratios = {"loraplus_unet_lr_ratio": "denoiser", "loraplus_text_encoder_lr_ratio": "text_1"}
        found = {name: self.up_ratio(part) for name, part in ratios.items()}
        return found if set(found.values()) != {1.0} else {}


def optimizer_groups(
    changes: Mapping[Part, Iterable[tuple[Said, nn.Module]]],
    rates: Mapping[Part, float],
    up_ratio: Callable[[Part], float],
) -> list[dict[str, Any]]:
    """The optimizer groups of a network.

    changes: each part's trained modules, with what the rules say of their layers. rates: of the parts.
    A group is called by its part, by the number of the rule that gave it its rate, and `up` if it is LoRA+'s fast
    half: `denoiser`, `denoiser up`, `denoiser rule 2`, `denoiser rule 2 up`.
    """
    groups: dict[tuple[Part, int, bool], dict[str, Any]] = {}
    for part, modules in changes.items():
        for said, module in modules:
            for name, parameter in module.named_parameters():
                if not parameter.requires_grad:
                    continue
                up = name.startswith(UP) and up_ratio(part) != 1
                key = part, said.rule, up
                if key not in groups:
                    rate = said.learning_rate(rates[part]) * (up_ratio(part) if up else 1)
                    groups[key] = {"params": [], "lr": rate, "name": _name(*key), "part": part}
                groups[key]["params"].append(parameter)
    places = {part: place for place, part in enumerate(changes)}
    return [groups[key] for key in sorted(groups, key=lambda key: (places[key[0]], *key[1:]))]


def _name(part: Part, rule: int, up: bool) -> str:
    return part + (f" rule {rule}" if rule else "") + (" up" if up else "")
