"""Every time equally often."""

from __future__ import annotations

from typing import ClassVar, Literal

from core.settings.bases import TimesConfig


class Uniform(TimesConfig):
    """Every time equally often, as most diffusion models were trained (Ho et al. 2020, algorithm 1)."""

    label: ClassVar[str] = "Uniform"

    name: Literal["uniform"] = "uniform"

    def quantile(self, share: float) -> float:
        return share

    def share_below(self, time: float) -> float:
        return time
