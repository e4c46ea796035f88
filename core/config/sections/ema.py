"""The average of the weights over the latest steps."""

from __future__ import annotations

from typing import Any, Literal

from core.settings import Settings, setting

Which = Literal["both", "ema", "plain"]

PLAIN = "no-ema"
"""What is put after the name of what shows or holds the plain weights, where another does the average."""

_ON: dict[str, Any] = {"shown_if": {"where": ["device", "cpu"]}, "level": "advanced"}


class Ema(Settings):
    """An average of the trained weights over the latest steps: steadier than the weights themselves."""

    where: Literal["off", "device", "cpu"] = setting(
        "off",
        "Average of the weights",
        "Keeps an average of the trained weights (EMA) on the device, or in the computer's memory, which is slower.",
        also=("ema", "use_ema", "ema_device"),
    )
    decay: float = setting(
        0.999,
        "Decay",
        "How much of the average stays at each update: with 0.999 about the latest 1000 updates count.",
        ge=0,
        lt=1,
        also=("ema_decay",),
        **_ON,
    )
    warmup: bool = setting(
        True,
        "Warm-up",
        "The decay grows from 0 to its value, so that the first weights are soon forgotten.",
        also=("use_ema_warmup",),
        **_ON,
    )
    update_every: int = setting(
        1,
        "Update every",
        "Steps from one update of the average to the next.",
        ge=1,
        le=10_000,
        unit="steps",
        also=("ema_update_step_interval", "ema_update_interval"),
        **_ON,
    )
    sample: Which = setting(
        "both",
        "Samples show",
        "The average, the plain weights, or both side by side.",
        affects="log",
        also=("non_ema_sampling",),
        **_ON,
    )
    save: Which = setting(
        "both",
        "Files hold",
        "The average, the plain weights, or both: the plain ones in a file beside, `NAME-no-ema`.",
        affects="files",
        **_ON,
    )

    @property
    def is_on(self) -> bool:
        """Whether an average is kept."""
        return self.where != "off"
