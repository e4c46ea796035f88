"""The rate falls along a power of the steps that are left."""

from typing import ClassVar, Literal

from core.schedules._minimum import Falling
from core.settings import setting


class Polynomial(Falling):
    """Falls as a power of what is left: (1 - x) ^ power.

    transformers' and diffusers' `polynomial`; there the end is a rate (1e-7), here the minimum is a share of the rate.
    """

    label: ClassVar[str] = "Polynomial"
    programs_call_it: ClassVar[tuple[str, ...]] = ("polynomial", "PolynomialLR")

    name: Literal["polynomial"] = "polynomial"
    power: float = setting(
        2.0,
        "Power",
        "1 is a straight line; above it the rate falls early, below it late.",
        gt=0,
        le=100,
        also=("lr_scheduler_power", "lr_power", "poly_power"),
    )

    def shape(self, step: int, total: int) -> float:
        return (max(0, total - step) / total) ** self.power
