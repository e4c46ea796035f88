"""What the optimizers of pytorch_optimizer have in common.

Its `foreach` stays as the library chooses (all weights of a group in one go), its `torch.compile` off. None of those
that Ochre offers draws a random number, asks for a closure or for gradients of gradients.
"""

from __future__ import annotations

from typing import Any, ClassVar

from core.optimizers._library import LibraryOptimizer
from core.settings import setting


class CollectionOptimizer(LibraryOptimizer):
    """An optimizer of the library pytorch_optimizer."""

    library: ClassVar[str] = "pytorch_optimizer"
    module: ClassVar[str] = "pytorch_optimizer"
    fused_backward: ClassVar[bool] = True

    def state_bytes(self) -> float:
        return self.state_bytes_per_weight + 4.0 * getattr(self, "ams_bound", False)


def fixed_decay() -> Any:
    """The setting of weight decay that doesn't follow the learning rate."""
    return setting(
        False,
        "Fixed decay",
        "Decoupled weight decay isn't multiplied with the learning rate: then it has to be far smaller.",
        level="advanced",
    )


def ams_bound() -> Any:
    """The setting of AMSGrad, as the library calls it."""
    return setting(
        False,
        "AMSGrad",
        "Divides by the greatest of the remembered squares, so that steps don't grow again; 4 bytes more per weight.",
        level="advanced",
        also=("amsgrad",),
    )


def rectify(default: bool = False) -> Any:
    """The setting of RAdam's rectification."""
    return setting(
        default,
        "Rectify",
        "As RAdam: the first steps are smaller, until the gradients' squares are known well. Spares a warm-up.",
        level="advanced",
    )


def n_sma_threshold() -> Any:
    """The setting of where rectification ends."""
    return setting(
        5,
        "Rectify until",
        "How many steps' worth of squares have to be known before they are divided by.",
        ge=4,
        unit="steps",
        shown_if={"rectify": [True]},
        level="advanced",
    )


def degenerated_to_sgd() -> Any:
    """The setting of what rectification does before."""
    return setting(
        True,
        "Begin as SGD",
        "The steps before that follow the remembered gradient as it is; off, nothing moves in them.",
        shown_if={"rectify": [True]},
        level="advanced",
    )


def adanorm() -> Any:
    """The setting of AdaNorm."""
    return setting(
        False,
        "AdaNorm",
        "Gradients that are smaller than usual are lengthened to the usual length.",
        level="advanced",
    )


def adanorm_r() -> Any:
    """The setting of AdaNorm's memory."""
    return setting(
        0.95,
        "AdaNorm memory",
        "How long the gradients' lengths are remembered.",
        ge=0,
        lt=1,
        shown_if={"adanorm": [True]},
        level="advanced",
        also=("r",),
    )


def adam_debias() -> Any:
    """The setting of AdamD."""
    return setting(
        False,
        "AdamD",
        "Only the squares' remembered values are corrected for the beginning, so that the first steps stay small.",
        level="advanced",
    )


def cautious() -> Any:
    """The setting of cautious steps."""
    return setting(
        False,
        "Cautious",
        "Leaves out what the remembered gradient and the present one disagree on (Liang et al. 2024).",
        level="advanced",
        also=("use_cautious",),
    )
