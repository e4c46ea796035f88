"""A limit on how far each layer is changed: after each step, updates with a larger norm are scaled down to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.settings import Settings, setting

if TYPE_CHECKING:
    from torch import Tensor

SIDES: Sequence[Sequence[str]] = (
    ("lora_up.weight", "lora_down.weight"),
    ("up_list", "down_list"),
    ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),
    ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
    ("a1.weight", "a2.weight"),
    ("weight",),
)
"""Names of weights by algorithm: the update is a product of those that there are, so that it scales with each."""

BESIDE = {"a1.weight": "b1.weight", "a2.weight": "b2.weight", "weight": "bias"}
"""Weights of a second product that is added to the first one, and has to be scaled as that."""


class NormLimit(Settings):
    """The setting of the limit."""

    max_norm: float = setting(
        0.0,
        "Largest norm of a layer's update",
        "After each step, an update whose norm is larger is scaled down to it. Where it is used, 1 is usual. 0: none.",
        ge=0,
        le=1e6,
        level="advanced",
        also=("scale_weight_norms",),
    )

    def norm_limit(self) -> float:
        """The largest norm that a layer's update may have; 0: any."""
        return self.max_norm


@dataclass(frozen=True)
class Limited:
    """What a limit did: how many updates it scaled, and the mean and largest norm of all of them after it."""

    scaled: Tensor
    mean: Tensor
    largest: Tensor

    def curves(self) -> dict[str, float]:
        """Name -> number, for the curves."""
        return {
            "layers scaled down": float(self.scaled),
            "mean of the layers": float(self.mean),
            "largest of the layers": float(self.largest),
        }


def limit_norms(changes: Sequence[Any], limit: float) -> Limited:
    """Scale the updates of trained modules (Change) down to a norm, on their device, without waiting for it.

    kohya's formula (networks/lora.py, apply_max_norm_regularization) with n = ||alpha / rank up down||, Frobenius:
    ratio = min(n', limit) / n' with n' = max(n, limit / 2), and its square root on up and on down. The limit / 2 in it
    keeps 0 from being divided by 0, and changes no result. LyCORIS multiplies LoHa's update by the same ratio, by a
    number beside the weights that its files and backups lose; here each of its four weights is multiplied by the
    fourth root, as LyCORIS does with those of LoKr. DoRA's update is measured before its decomposition, as with both.
    """
    import torch

    with torch.no_grad():
        norms = torch.stack([change.plain_difference().norm() for change in changes])
        least = norms.clamp(min=limit / 2)
        ratios = least.clamp(max=limit) / least
        for change, ratio in zip(changes, ratios, strict=True):
            multiply(change, ratio)
        norms = norms * ratios
        return Limited((ratios != 1).sum(), norms.mean(), norms.max())


def is_product(change: Any) -> bool:
    """Whether an update scales with its weights: that of a normalisation layer beside the others doesn't count."""
    return any(_of(dict(change.named_parameters()), name) for names in SIDES for name in names)


def multiply(change: Any, ratio: Tensor | float) -> None:
    """Multiply the update of a trained module by a positive number, evenly among the weights that it is a product of.

    Frozen weights are left alone. Each weight is multiplied by a root of the number, 1 by exactly 1.
    """
    weights = dict(change.named_parameters())
    for names in SIDES:
        sides = [_of(weights, name) for name in names]
        sides = [side for side in sides if side]
        if sides:
            for side in sides + [_of(weights, BESIDE[name]) for name in names if name in BESIDE]:
                for weight in side:
                    weight.data.mul_(ratio ** (1 / len(sides)))
            return
    raise AssertionError(f"{type(change).__name__} is no product of weights: {', '.join(weights)}")


def _of(weights: dict[str, Any], name: str) -> list[Any]:
    """The trained weights of a name, or of a list of that name."""
    return [p for key, p in weights.items() if p.requires_grad and (key == name or key.startswith(f"{name}."))]
