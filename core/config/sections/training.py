"""How long, how much at once, from which seed."""

from __future__ import annotations

from core.settings import Settings, setting


class Training(Settings):
    """How long, how much at once, from which seed."""

    epochs: int = setting(
        10, "Epochs", "How often all pictures are shown.", ge=1, le=100_000, also=("max_train_epochs",)
    )
    max_steps: int = setting(
        0,
        "At most this many steps",
        "Ends the run earlier than its epochs; 0 is no limit.",
        ge=0,
        also=("max_train_steps",),
    )
    train_batch_size: int = setting(1, "Batch size", "Pictures in a step.", ge=1, le=1024, also=("batch_size",))
    gradient_accumulation_steps: int = setting(
        1,
        "Gradient accumulation",
        "Batches that are added up to one step: like a larger batch, with less memory and more time.",
        ge=1,
        le=1024,
        level="advanced",
    )
    max_grad_norm: float = setting(
        1.0,
        "Clip gradients at",
        "Larger gradients are scaled down to this norm; 0 switches it off.",
        ge=0,
        level="advanced",
    )
    seed: int = setting(42, "Seed", "The same seed and settings give the same result.", ge=0, lt=2**63)
    stochastic_rounding: bool = setting(
        True,
        "Stochastic rounding",
        "Where trained weights are bf16: rounds each step's result up or down at random, so that small steps add up. "
        "Off: to the nearest, where small steps are lost.",
        level="advanced",
    )
